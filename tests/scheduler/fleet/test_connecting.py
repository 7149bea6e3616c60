"""A cluster that rejects us is reported soon, with the fix."""

import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from velodrome.scheduler.errors import ClusterUnreachable, ConfigError
from velodrome.scheduler.fleet.cluster import check_address, find_variables


@pytest.mark.parametrize("address", ["ray://head:10001", "head", "head:port", "http://head:8265"])
def test_an_invalid_address_is_rejected(address: str) -> None:
    with pytest.raises(ConfigError, match="HOST:PORT"):
        check_address(address)


def test_an_address_without_a_listener_is_unreachable() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(ClusterUnreachable, match="nothing answers"):
        check_address(f"127.0.0.1:{port}")


def test_a_driver_presents_its_token_and_reports_no_usage(tmp_path: Path) -> None:
    token = tmp_path / "auth_token"
    assert "RAY_AUTH_MODE" not in find_variables({}, token)
    assert find_variables({"RAY_AUTH_TOKEN_PATH": "/a/token"}, token)["RAY_AUTH_MODE"] == "token"
    token.write_text("0" * 64)
    found = find_variables({}, token)
    assert found["RAY_AUTH_MODE"] == "token"
    assert found["RAY_USAGE_STATS_ENABLED"] == "0"


def test_variables_that_the_user_set_are_kept(tmp_path: Path) -> None:
    assert "RAY_AUTH_MODE" not in find_variables({"RAY_AUTH_MODE": "disabled"}, tmp_path / "none")


@pytest.mark.full
@pytest.mark.slow
def test_a_head_that_accepts_but_never_answers_times_out() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        script = (
            "import sys\n"
            "from velodrome.scheduler.fleet import cluster\n"
            "cluster.JOIN_S = 6.0\n"
            "with cluster.join_cluster(sys.argv[1]): print('joined')\n"
        )
        began_s = time.monotonic()
        done = subprocess.run(
            [sys.executable, "-c", script, address], capture_output=True, text=True, timeout=100
        )
    assert done.returncode == ClusterUnreachable.exit_status
    assert "did not admit this driver" in done.stderr
    assert time.monotonic() - began_s < 60
