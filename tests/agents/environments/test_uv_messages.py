"""uv's real messages become one line with a remedy."""

import pytest

from velodrome.agents.environments.uv_messages import (
    cause,
    explain,
    is_disk_full,
    log_tail,
    not_found,
)

NO_VERSION = """\
error: No solution found when resolving dependencies
  cause: Because there is no version of torch==2.13.0+cpu and you require torch==2.13.0+cpu, we \
can conclude that your requirements are unsatisfiable.
"""
NO_NAME = """\
error: No solution found when resolving dependencies
  cause: Because tiny was not found in the provided package locations and you require tiny==1.0, \
we can conclude that your requirements are unsatisfiable.
"""
MARKED = """\
  cause: Because there is no version of numpy{sys_platform == 'linux'}==2.4.6 and you require \
numpy{sys_platform == 'linux'}==2.4.6, we can conclude that your requirements are unsatisfiable.
"""
OFFLINE = """\
  cause: Because filelock was not found in the cache and you require filelock==4.2.12, we \
can conclude that your requirements are unsatisfiable.

hint: Packages were unavailable because the network was disabled.
"""
NO_WHEEL = """\
error: No solution found when resolving dependencies
  cause: Because torch==2.13.0+cpu has no wheels with a matching Python ABI tag (e.g., `cp312`) \
and you require torch==2.13.0+cpu, we can conclude that your requirements are unsatisfiable.
"""
NO_HOST = """\
error: Request failed after 3 retries in 6.5s
  cause: Failed to fetch: `https://nowhere.invalid/simple/numpy/`
  cause: client error (Connect)
  cause: dns error
  cause: failed to lookup address information: Name or service not known
"""
OTHER_BYTES = """\
Downloading numpy (16.1MiB)
error: Failed to download `numpy==2.4.6`
  cause: Hash mismatch for `numpy==2.4.6`

         Expected:
           sha256:0000bb8e08d942dd57599e781f2472269ee7f2755fae407b4f67b2f0b17da3f1
"""
FULL = """\
error: Failed to install: tiny-1.0-py3-none-any.whl (tiny==1.0)
  cause: failed to copy file: No space left on device (os error 28)
"""


@pytest.mark.parametrize(
    ("output", "package"),
    [
        (NO_VERSION, "torch==2.13.0+cpu"),
        (NO_NAME, "tiny==1.0"),
        (MARKED, "numpy==2.4.6"),
        (OFFLINE, ""),
        (NO_WHEEL, ""),
        (NO_HOST, ""),
        (OTHER_BYTES, ""),
        (FULL, ""),
    ],
)
def test_only_a_package_missing_from_every_index_is_not_found(output: str, package: str) -> None:
    assert not_found(output) == package


@pytest.mark.parametrize(
    ("output", "words"),
    [
        (NO_WHEEL, ("torch==2.13.0+cpu has no wheel", "another Python")),
        (NO_HOST, ("could not be downloaded", "Name or service not known", "pip config list")),
        (
            OTHER_BYTES,
            (
                "numpy==2.4.6 has another hash than",
                "velodrome envs lock torch",
            ),
        ),
        ("Killed\n", ("uv could not install torch: Killed",)),
        ("", ("it printed nothing",)),
    ],
)
def test_the_reason_is_one_line_with_the_remedy(output: str, words: tuple[str, ...]) -> None:
    reason = explain(output, "torch")
    assert "\n" not in reason
    assert all(word in reason for word in words)


def test_a_full_disk_is_recognized_by_uvs_message() -> None:
    assert is_disk_full(FULL) and not is_disk_full(NO_HOST + OTHER_BYTES)


def test_the_reason_is_the_innermost_cause() -> None:
    assert cause(FULL) == "failed to copy file: No space left on device (os error 28)"
    assert cause("warning: x\nerror: No such thing.\n") == "No such thing"


def test_the_tail_of_a_log_is_its_end() -> None:
    assert log_tail("\n".join(str(n) for n in range(1000))).splitlines()[-1] == "999"
