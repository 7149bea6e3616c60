import os
import subprocess
from pathlib import Path

from velodrome.agents.environments.interpreters import find_interpreter

ADAPTERS = Path(__file__).parents[2] / "adapters"
MINORS = tuple(f"3.{minor}" for minor in range(6, 15))
COMPILE_ALL = """
import sys
for path in sys.argv[1:]:
    with open(path, encoding="utf-8") as source:
        compile(source.read(), path, "exec")
"""


def test_adapters_compile_on_the_oldest_interpreter_of_this_machine() -> None:
    oldest = find_interpreter(MINORS, os.environ)
    assert oldest is not None
    sources = sorted(str(path) for path in ADAPTERS.rglob("*.py"))
    assert len(sources) > 10
    done = subprocess.run(
        [str(oldest.path), "-c", COMPILE_ALL, *sources], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{oldest.path}: {done.stderr}"
