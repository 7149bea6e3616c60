"""Checks that a bucket is usable, before a sweep starts."""

import secrets
from pathlib import PurePosixPath

import pyarrow as pa
import pyarrow.fs as pafs

from velodrome.scheduler.errors import ConfigError
from velodrome.scheduler.results.bucket import Bucket
from velodrome.scheduler.results.object_store import UNREACHABLE, Objects
from velodrome.scheduler.results.uri import BucketAddress

# What the clients of Amazon's and of Google's store say, and what is to be done.
_MENDS = (
    (("NO_SUCH_BUCKET", "NOT_FOUND"), "there is no such bucket", "Make it first."),
    (
        ("ACCESS_DENIED", "FORBIDDEN", "INVALID_ACCESS_KEY", "SIGNATURE", "PermissionDenied"),
        "it may not be used with the credentials that are here",
        "Look at AWS_PROFILE, AWS_ACCESS_KEY_ID or GOOGLE_APPLICATION_CREDENTIALS.",
    ),
    (UNREACHABLE, "it cannot be reached", "Look at the network, and at AWS_ENDPOINT_URL."),
)


def open_to_write(address: BucketAddress) -> Bucket:
    """Open a bucket and test that it can be written. Else ConfigError."""
    bucket = _open_bucket(address)
    probe = bucket.layout.stagings / f"probe-{secrets.token_hex(8)}"
    try:
        bucket.objects.put(probe, pa.py_buffer(b"velodrome"))
        bucket.objects.remove([probe])
    except (OSError, pa.ArrowException) as error:
        raise _make_error(address, str(error)) from None
    return bucket


def open_to_read(address: BucketAddress) -> Bucket:
    """Open a bucket. ConfigError if it cannot be read or holds no results."""
    bucket = _open_bucket(address)
    try:
        is_empty = not bucket.objects.names(bucket.layout.root)
        is_there = not is_empty or bucket.objects.has_folder(bucket.layout.root.parts[0])
    except (OSError, pa.ArrowException) as error:
        raise _make_error(address, str(error)) from None
    if not is_there:
        raise _make_error(address, "NO_SUCH_BUCKET")
    if is_empty:
        mend = "Run a sweep first, or name another with --results."
        raise ConfigError(address.name, "there is nothing here", mend)
    return bucket


def _open_bucket(address: BucketAddress) -> Bucket:
    try:
        filesystem, path = pafs.FileSystem.from_uri(address.uri)
    except (OSError, ValueError, pa.ArrowException) as error:
        raise _make_error(address, str(error)) from None
    return Bucket(address.name, PurePosixPath(path), Objects(filesystem))


def _make_error(address: BucketAddress, reason: str) -> ConfigError:
    for words, problem, mend in _MENDS:
        if any(word in reason for word in words):
            return ConfigError(address.name, f"{problem} ({reason})", mend)
    return ConfigError(
        address.name, f"it cannot be used ({reason})", "Name another with --results."
    )
