"""Parsing of --results: a local folder, or a bucket of an object store."""

import os
import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from velodrome.scheduler.errors import ConfigError

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):/+")  # pathlib makes one slash of two
BUCKETS = ("s3", "gs")
KINDS = "a folder, s3://BUCKET/PATH or gs://BUCKET/PATH"


@dataclass(frozen=True)
class BucketAddress:
    """A bucket. name: as typed. uri: for pyarrow; may have more parameters."""

    name: str
    uri: str


def parse_address(results: str | Path) -> Path | BucketAddress:
    """Parse a place. ConfigError for an unknown scheme, or if it holds a password."""
    text = str(results)
    found = _SCHEME.match(text)
    if not found:
        return Path(results)
    scheme = found[1].lower()
    if scheme == "file":
        return Path("/" + text[found.end() :])
    if scheme not in BUCKETS:
        raise ConfigError(text, f"{found[1]}:// is no place for results", f"Name {KINDS}.")
    return _parse_bucket(scheme, f"{scheme}://{text[found.end() :]}")


def is_shared_place(results: str | Path) -> bool:
    """Return True if another machine may reach the place. ConfigError as `address`."""
    found = parse_address(results)
    return isinstance(found, BucketAddress) or found.is_absolute()


def _parse_bucket(scheme: str, text: str) -> BucketAddress:
    split = urlsplit(text)
    if split.password is not None or (split.username not in (None, "anonymous")):
        # It would be shown on the screen, in logs and in the metadata of jobs.
        mend = "Give it by the environment (AWS_ACCESS_KEY_ID, ...) or its usual file."
        raise ConfigError(f"{scheme}://", "a key does not belong into an address", mend)
    if not split.hostname:
        raise ConfigError(text, "it names no bucket", f"Name {KINDS}.")
    return BucketAddress(text, _with_endpoint(text) if scheme == "s3" else text)


def _with_endpoint(text: str) -> str:
    """Add a region for a store that is not Amazon's, which would be asked for it.

    pyarrow reads AWS_ENDPOINT_URL itself.
    """
    query = parse_qs(urlsplit(text).query)
    variables = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL")
    is_elsewhere = "endpoint_override" in query or any(map(os.environ.get, variables))
    added = {"allow_delayed_open": "true"}  # a small object is one request
    if is_elsewhere:
        regions = map(os.environ.get, ("AWS_REGION", "AWS_DEFAULT_REGION"))
        added["region"] = next(filter(None, regions), "us-east-1")
    given = "&".join(f"{key}={value}" for key, value in added.items() if key not in query)
    return f"{text}{'&' if query else '?'}{given}" if given else text
