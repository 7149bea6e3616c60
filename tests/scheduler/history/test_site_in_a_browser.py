"""The site in a browser: charts drawn, no console message, no foreign request, fits a phone."""

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
# A page without a content security policy that inspects the others in frames as wide as a phone.
INSPECTION = f"""<!doctype html><title>inspection</title><body><script>
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
        self.server.requested.append(self.path)


@pytest.fixture
def served(tmp_path: Path, make_fleet):
    """Serve the site; return the folder, its address and the requested paths."""
    fleet = make_fleet(change=lambda cell, run: 1.2 if run >= 15 else 1.0).measure(*range(20))
    write_files(
        tmp_path, render_pages("nightly", fleet.history(), LatestRunSummary(("a summary " * 30,)))
    )
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(tmp_path)))
    server.requested = []
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield tmp_path, f"http://127.0.0.1:{server.server_port}", server.requested
    server.shutdown()
    server.server_close()
    thread.join()


def test_pages_draw_their_charts_without_console_messages_and_fit_a_phone(served) -> None:
    folder, address, requested = served
    cells = sorted(f"cells/{path.name}" for path in (folder / "cells").glob("*.html"))
    paths = ["index.html", cells[0]]
    (folder / "inspection.html").write_text(INSPECTION.replace("PATHS", json.dumps(paths)))
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
            f"{address}/inspection.html",
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
    ours = {"/inspection.html", "/index.html", "/site.css", "/site.js", "/vega.js", f"/{cells[0]}"}
    assert set(requested) - {"/favicon.ico"} == ours
