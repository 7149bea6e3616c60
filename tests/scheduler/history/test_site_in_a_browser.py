"""The site as a browser shows it: drawn, silent, asking nothing elsewhere, as narrow as a phone."""

import json
import os
import re
import shutil
import subprocess
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from velodrome.scheduler.site.pages import LatestRunSummary, render_pages, write_files

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("chrome")
PHONE = 390
# Beside the pages, and under no policy: it looks into them through frames as wide as a phone.
LOOKING = f"""<!doctype html><title>looking</title><body><script>
const seen = {{}};
async function look(path) {{
  const frame = document.createElement("iframe");
  frame.width = {PHONE}; frame.height = 800; frame.src = path;
  document.body.append(frame);
  await new Promise((done) => frame.addEventListener("load", done));
  await new Promise((done) => setTimeout(done, 3000));
  const page = frame.contentDocument;
  const count = (what) => page.querySelectorAll(what).length;
  seen[path] = {{ wide: page.documentElement.scrollWidth, drawn: count(".chart svg"),
    marks: count(".chart svg path"), lines: count("polyline") }};
}}
(async () => {{
  for (const path of PATHS) await look(path);
  document.body.textContent = JSON.stringify(seen);
}})();
</script>"""

pytestmark = [
    pytest.mark.slow,
    pytest.mark.full,
    pytest.mark.skipif(not BROWSER, reason="no Chromium here"),
]


class Handler(SimpleHTTPRequestHandler):
    def log_message(self, text: str, *values: object) -> None:
        self.server.asked.append(self.path)


@pytest.fixture
def served(tmp_path: Path, nights):
    """The folder, its address, and the paths that were asked for."""
    fleet = nights(change=lambda cell, night: 1.2 if night >= 15 else 1.0).pass_by(*range(20))
    write_files(
        tmp_path, render_pages("nights", fleet.history(), LatestRunSummary(("a summary " * 30,)))
    )
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(tmp_path)))
    server.asked = []
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield tmp_path, f"http://127.0.0.1:{server.server_port}", server.asked
    server.shutdown()
    server.server_close()
    thread.join()


def test_the_pages_are_drawn_without_a_word_in_the_console_and_fit_a_phone(served) -> None:
    folder, address, asked = served
    cells = sorted(f"cells/{path.name}" for path in (folder / "cells").glob("*.html"))
    paths = ["index.html", cells[0]]
    (folder / "looking.html").write_text(LOOKING.replace("PATHS", json.dumps(paths)))
    shot = Path(os.environ.get("VELODROME_SCREENSHOTS") or folder) / "site.png"
    done = subprocess.run(
        [
            BROWSER,
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--enable-logging=stderr",
            "--virtual-time-budget=20000",
            f"--user-data-dir={folder / 'profile'}",
            "--dump-dom",
            f"--screenshot={shot}",
            f"{address}/looking.html",
        ],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert shot.stat().st_size > 10_000
    assert not re.findall(r"CONSOLE.*", done.stderr)
    seen = json.loads(re.search(r"\{.*\}", done.stdout)[0])
    assert {path: one["wide"] <= PHONE for path, one in seen.items()} == dict.fromkeys(paths, True)
    assert seen["index.html"]["lines"] == len(cells)
    assert seen[cells[0]]["drawn"] == 2
    assert seen[cells[0]]["marks"] > 40
    ours = {"/looking.html", "/index.html", "/site.css", "/site.js", "/vega.js", f"/{cells[0]}"}
    assert set(asked) - {"/favicon.ico"} == ours
