"""Places for results that tests write to: a folder, and a bucket of a real S3 API on loopback."""

import logging
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.dataset as ds
import pytest
from pyarrow import fs
from unsound_results import fill

from velodrome.scheduler.results.store import Store

BUCKET = "velodrome-test"
VARIABLES = {
    "AWS_ACCESS_KEY_ID": "any",
    "AWS_SECRET_ACCESS_KEY": "any",
    "AWS_EC2_METADATA_DISABLED": "true",
}


@dataclass(frozen=True)
class Place:
    """results: as typed by a user. The methods read it without Velodrome's code."""

    results: str
    filesystem: fs.FileSystem
    root: str

    def paths(self, table: str) -> list[str]:
        """Return the paths of a table's files, in order."""
        return [path for path in self.everything(table) if "/sweep=" in path]

    def everything(self, below: str = "") -> list[str]:
        selector = fs.FileSelector(f"{self.root}/{below}", recursive=True, allow_not_found=True)
        found = self.filesystem.get_file_info(selector)
        return sorted(info.path for info in found if info.type == fs.FileType.File)

    def names(self, table: str) -> list[str]:
        return [Path(path).name for path in self.paths(table)]

    def read(self, path: str) -> bytes:
        with self.filesystem.open_input_stream(path) as stream:
            return bytes(stream.read())

    def write(self, path: str, content: bytes) -> None:
        with self.filesystem.open_output_stream(path) as stream:
            stream.write(content)

    def seen(self, table: str, column: str) -> list[object]:
        """A column of every row that is there."""
        if not self.paths(table):
            return []
        place = f"{self.root}/{table}"
        found = ds.dataset(place, filesystem=self.filesystem, partitioning="hive")
        return sorted(found.to_table(columns=[column])[column].to_pylist())


@dataclass
class S3Server:
    """A server in a thread of this process. hook sees every request before it is answered.

    Its result replaces the request or follows it: see Hook.
    """

    endpoint: str
    hook: "Hook | None" = None


# Of a method and a path: whether to do the request, and what to do then.
Hook = Callable[[str, str], tuple[bool, Callable[[], None]] | None]


@pytest.fixture(scope="session")
def running_s3() -> Iterator[S3Server]:
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    found = S3Server(f"http://{host}:{port}")
    answer = server._server.app

    def watched(environ: dict[str, Any], start_response: Any) -> Any:
        seen = found.hook and found.hook(environ["REQUEST_METHOD"], environ["PATH_INFO"])
        if not seen:
            return answer(environ, start_response)
        is_done, then = seen
        body = list(answer(environ, start_response)) if is_done else []
        then()
        if not is_done:
            start_response("403 Forbidden", [("Content-Length", "0")])
        return body

    server._server.app = watched
    yield found
    server.stop()


@pytest.fixture
def s3_server(running_s3: S3Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[S3Server]:
    """A server, with the variables set that name it."""
    for name, value in {**VARIABLES, "AWS_ENDPOINT_URL": running_s3.endpoint}.items():
        monkeypatch.setenv(name, value)
    yield running_s3
    running_s3.hook = None


@pytest.fixture
def s3(s3_server: S3Server) -> fs.FileSystem:
    """A file system with an empty bucket."""
    uri = f"s3://{BUCKET}?allow_bucket_creation=true&allow_delayed_open=true&region=us-east-1"
    filesystem, path = fs.FileSystem.from_uri(uri)
    filesystem.create_dir(path)
    return filesystem


@pytest.fixture(params=["folder", "bucket"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    if request.param == "folder":
        root = tmp_path / "results"
        return Place(str(root), fs.LocalFileSystem(), str(root))
    filesystem = request.getfixturevalue("s3")
    return in_bucket(filesystem, tmp_path.name)


@pytest.fixture
def bucket(s3: fs.FileSystem, tmp_path: Path) -> Place:
    return in_bucket(s3, tmp_path.name)


def in_bucket(filesystem: fs.FileSystem, name: str) -> Place:
    return Place(f"s3://{BUCKET}/{name}/results", filesystem, f"{BUCKET}/{name}/results")


@pytest.fixture
def placed(place: Place) -> Store:
    """The store in that place."""
    return Store(place.results)


@pytest.fixture(scope="session")
def two_sweeps(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("filled") / "results"
    fill(folder)
    return folder


@pytest.fixture
def results(two_sweeps: Path, root: Path) -> Path:
    """Copy the results of two sweeps, so that a test may spoil a file."""
    shutil.copytree(two_sweeps, root)
    return root
