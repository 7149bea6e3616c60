"""Shells and other users: no text reaches a shell, and no file of others is trusted."""

import ast
import os
import re
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hostile_words import UNSEEN

from velodrome.agents.cores.lock_holders import describe_holders
from velodrome.agents.environments import launch
from velodrome.agents.safe_text import sanitize_line, strip_controls

CODE = Path(__file__).parents[3]


def test_another_users_text_in_a_lock_file_is_shortened_and_never_blocks(
    tmp_path: Path,
) -> None:
    pipe, large, link = (tmp_path / name for name in ("pipe", "large", "link"))
    os.mkfifo(pipe)
    with large.open("wb") as file:
        file.write(b"pid 1 (\x1b[2Jevil)\nall is well")
        file.truncate(2**40)
    link.symlink_to("/etc/passwd")
    holder = describe_holders([pipe, large, link])
    assert holder.startswith("pid 1 (evil) all is well")
    assert len(holder) <= 200
    assert "root" not in holder


def test_no_process_is_started_through_a_shell() -> None:
    """The one exception quotes its words: a tree that is entered without bubblewrap."""
    shells = {
        f"{path.relative_to(CODE)}:{word}"
        for folder in ("agents", "scheduler")
        for path in (CODE / folder).rglob("*.py")
        for word in shell_words(ast.parse(path.read_text()))
    }
    assert shells == {"agents/environments/launch.py:sh"}


def shell_words(tree: ast.AST) -> Iterator[str]:
    """Find ways to a shell: shell=True, os.system and the like, and a shell's name as a word."""
    ways = ("os.system", "os.popen", "subprocess.getoutput", "asyncio.create_subprocess_shell")
    for node in ast.walk(tree):
        if isinstance(node, ast.keyword) and node.arg == "shell":
            yield "shell="
        elif isinstance(node, ast.Attribute) and ast.unparse(node) in ways:
            yield node.attr
        elif isinstance(node, ast.Constant) and node.value in ("sh", "bash", "/bin/sh"):
            yield str(node.value)


def test_a_path_is_quoted_for_the_only_shell_in_use(tmp_path: Path) -> None:
    tree = tmp_path / "a $(touch owned) `touch owned` 'q\" ; touch owned; *"
    (tree / "usr").mkdir(parents=True)
    (tree / "mnt").mkdir()
    log, tools = tmp_path / "log", tmp_path / "tools"
    tools.mkdir()
    for name in ("mount", "chroot"):  # neither is done; what was asked for is written down
        tool = tools / name
        tool.write_text(f"#!/bin/sh\nprintf '%s\\n' \"$@\" >> '{log}'\n")
        tool.chmod(0o755)
    script = launch._by_chroot(tree, {"A": "$(touch owned)"}, ["$(touch owned)"])[-1]
    path = f"{tools}:{os.environ['PATH']}"
    subprocess.run(["sh", "-ec", script], cwd=tmp_path, env={"PATH": path}, check=True)
    words = log.read_text().splitlines()
    assert f"{tree}/mnt" in words
    assert f"{tree}/usr" in words
    assert words[-2:] == ["A=$(touch owned)", "$(touch owned)"]
    assert sorted(entry.name for entry in tmp_path.iterdir()) == sorted([tree.name, "log", "tools"])


def test_every_test_named_on_the_security_page_exists() -> None:
    page = (CODE / "docs" / "security.md").read_text()
    named = set(re.findall(r"`(test_\w+)`", page))
    there = "\n".join(path.read_text() for path in (CODE / "tests").rglob("test_*.py"))
    assert len(named) > 20
    assert {name for name in named if f"def {name}(" not in there} == set()
    files = set(re.findall(r"`(tests/[\w/]+\.py)`", page))
    assert {file for file in files if not (CODE / file).is_file()} == set()


@pytest.mark.parametrize("unit", ["x", "\r", "\x1b", "\x1b[1", "\x1b]", "\x1b[ ", " \n", "\x9b"])
def test_megabytes_of_text_are_sanitized_in_linear_time(unit: str) -> None:
    text = unit * (2**22 // len(unit))
    before_s = time.process_time()
    assert not UNSEEN.search(sanitize_line(text, 100))
    assert time.process_time() - before_s < 5  # hours, where the square of it is done


def test_unprintable_characters_are_not_printed() -> None:
    text = os.fsdecode(b"a\xff\x1b[31mb") + "\u202e\ud800c"
    assert strip_controls(text) == "abc"
    assert strip_controls(text).encode()
