"""A headless Chromium, driven over a pipe: pages as a reader's browser shows them."""

import base64
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


def executable() -> str | None:
    """Return this machine's Chromium, or the one that CHROMIUM names; None if there is none."""
    return os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)


@dataclass
class Tab:
    """A page of the browser, with its console messages and its requests."""

    to_browser: int
    from_browser: int
    session: str = ""
    console: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)
    numbers: int = 0
    rest: bytes = b""
    loaded: bool = False

    def ask(self, method: str, **parameters: object) -> dict[str, Any]:
        self.numbers += 1
        message: dict[str, object] = {"id": self.numbers, "method": method, "params": parameters}
        if self.session:
            message["sessionId"] = self.session
        os.write(self.to_browser, json.dumps(message).encode() + b"\0")
        while (reply := self._receive()).get("id") != self.numbers:
            pass
        assert "error" not in reply, reply
        result: dict[str, Any] = reply["result"]
        return result

    def open(self, file: Path) -> None:
        """Until its scripts have run."""
        self.loaded = False
        self.ask("Page.navigate", url=file.as_uri())
        while not self.loaded:
            self._receive()

    def run(self, script: str) -> Any:
        found = self.ask(
            "Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True
        )
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    def look(self, width: int, scheme: str = "light") -> None:
        """At a page of that width, on light or dark paper."""
        phone = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": width < 600}
        self.ask("Emulation.setDeviceMetricsOverride", **phone)
        paper = [{"name": "prefers-color-scheme", "value": scheme}]
        self.ask("Emulation.setEmulatedMedia", features=paper)

    def picture(self, file: Path) -> None:
        file.write_bytes(base64.b64decode(self.ask("Page.captureScreenshot")["data"]))

    def _receive(self) -> dict[str, Any]:
        while b"\0" not in self.rest:
            chunk = os.read(self.from_browser, 2**16)
            assert chunk, "the browser has ended"
            self.rest += chunk
        line, self.rest = self.rest.split(b"\0", 1)
        message: dict[str, Any] = json.loads(line)
        self._note(message.get("method", ""), message.get("params", {}))
        return message

    def _note(self, method: str, parameters: dict[str, Any]) -> None:
        if method == "Page.loadEventFired":
            self.loaded = True
        elif method == "Runtime.consoleAPICalled":
            self.console.append(" ".join(str(one.get("value")) for one in parameters["args"]))
        elif method == "Runtime.exceptionThrown":
            self.console.append(str(parameters["exceptionDetails"]))
        elif method == "Log.entryAdded":
            self.console.append(str(parameters["entry"]["text"]))
        elif method == "Network.requestWillBeSent":
            self.requests.append(str(parameters["request"]["url"]))


@contextmanager
def opened(program: str) -> Iterator[Tab]:
    """It and all its children are gone afterwards."""
    ours_in, theirs_out = os.pipe()
    theirs_in, ours_out = os.pipe()

    def as_it_wants() -> None:  # commands on 3, answers on 4; first out of each other's way
        kept = os.dup(theirs_in), os.dup(theirs_out)
        os.dup2(kept[0], 3)
        os.dup2(kept[1], 4)

    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        flags = ("--headless", "--no-sandbox", "--disable-gpu", "--remote-debugging-pipe")
        child = subprocess.Popen(
            [program, *flags, f"--user-data-dir={profile}", "about:blank"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            close_fds=False,
            preexec_fn=as_it_wants,
        )
        os.close(theirs_in)
        os.close(theirs_out)
        try:
            yield _tab(ours_out, ours_in)
        finally:
            os.close(ours_out)  # at which it ends by itself
            os.close(ours_in)
            try:
                child.wait(10)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()


def _tab(to_browser: int, from_browser: int) -> Tab:
    tab = Tab(to_browser, from_browser)
    target = tab.ask("Target.createTarget", url="about:blank")["targetId"]
    tab.session = tab.ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
    for domain in ("Page", "Runtime", "Log", "Network"):
        tab.ask(f"{domain}.enable")
    return tab
