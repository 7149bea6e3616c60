"""A conversation with a driver that lives on between questions (ray_session.py)."""

import json
import select
import subprocess
import textwrap
from pathlib import Path
from typing import Any

ANSWER_S = 60.0


class Session:
    """A conversation with one running driver."""

    def __init__(self, running: "subprocess.Popen[str]", log: Path) -> None:
        self.running = running
        self.log = log

    def run_script(self, script: str, *, within_s: float = ANSWER_S, **values: Any) -> Any:
        """Return the script's `answer`. RuntimeError with its traceback if it raises."""
        self.begin(script, **values)
        return self.answer(within_s=within_s)

    def begin(self, script: str, **values: Any) -> None:
        """Send the script without waiting. values: the variables that it sees."""
        assert self.running.stdin
        self.running.stdin.write(json.dumps([textwrap.dedent(script), values]) + "\n")
        self.running.stdin.flush()

    def answer(self, *, within_s: float = ANSWER_S) -> Any:
        assert self.running.stdout
        if not select.select([self.running.stdout], [], [], within_s)[0]:
            raise TimeoutError(f"the driver has not answered for {within_s:.0f} s")
        line = self.running.stdout.readline()
        if not line:
            last_words = self.log.read_text(errors="replace")[-3000:]
            raise RuntimeError(f"the driver has ended ({self.running.wait()}): {last_words}")
        reply = json.loads(line)
        if "error" in reply:
            raise RuntimeError(reply["error"])
        return reply["answer"]

    def close(self) -> None:
        self.running.kill()
        self.running.wait()
        for stream in (self.running.stdin, self.running.stdout):
            if stream:
                stream.close()
