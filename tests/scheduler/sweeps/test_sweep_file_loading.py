"""Sweep files: what can be wrong with a file before it is read."""

import os
import pickle
from pathlib import Path

import pytest

from velodrome.adapters.registry import FRAMEWORKS
from velodrome.scheduler.errors import ConfigError
from velodrome.scheduler.sweeps.sweep_file import load_sweep

SHORTEST = "frameworks: [torch]\nmodels: [lenet]\n"


def said_of(path: Path) -> str:
    with pytest.raises(ConfigError) as caught:
        load_sweep(path, FRAMEWORKS)
    return str(caught.value)


def test_a_file_is_read_with_its_path_in_front_of_every_place(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(f"{SHORTEST}oops: 1\n")
    assert said_of(path).startswith(f"{path}:3:1: no such key 'oops'.")


def test_a_sweep_without_a_name_is_called_like_its_file(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(SHORTEST)
    assert load_sweep(path, FRAMEWORKS).name == "mine"


def test_a_byte_order_mark_is_no_part_of_the_first_key(tmp_path: Path) -> None:
    path = tmp_path / "windows.yaml"
    path.write_bytes(b"\xef\xbb\xbf" + SHORTEST.replace("\n", "\r\n").encode())
    assert load_sweep(path, FRAMEWORKS).models == ("lenet",)


def test_a_missing_file_is_reported(tmp_path: Path) -> None:
    path = tmp_path / "none.yaml"
    assert said_of(path) == f"{path}: there is no such file. Check the path."


def test_a_folder_instead_of_a_file_is_reported(tmp_path: Path) -> None:
    assert said_of(tmp_path) == f"{tmp_path}: this is a folder. Name a file in it."


def test_a_path_through_a_file_is_reported(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert "cannot be read (Not a directory)" in said_of(tmp_path / "file" / "x.yaml")


def test_a_pipe_that_nobody_writes_to_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert "this is not a regular file" in said_of(tmp_path / "pipe")


def test_an_endless_device_is_not_read() -> None:
    assert "this is not a regular file" in said_of(Path("/dev/zero"))


def test_a_hundred_megabytes_are_not_read(tmp_path: Path) -> None:
    path = tmp_path / "large.yaml"
    with path.open("wb") as file:
        file.truncate(100_000_000)
    assert "the file is larger than 256 KiB" in said_of(path)


def test_bytes_that_are_not_utf8_are_reported_with_their_place(tmp_path: Path) -> None:
    path = tmp_path / "latin1.yaml"
    path.write_bytes("name: x\n# Größe".encode("latin-1"))
    assert said_of(path).startswith(f"{path}:2:5: byte 0xf6 is not UTF-8.")


def test_an_error_survives_the_way_from_another_process() -> None:
    error = ConfigError("s.yaml:1:1", "the file is empty", "Write something.")
    assert str(pickle.loads(pickle.dumps(error))) == str(error)
