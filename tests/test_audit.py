"""The dependency audit: a known vulnerability fails it, and a database that does not answer is no clean bill."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

ROOT = Path(__file__).parents[1]
LOCK = f"some-package==1.0 \\\n    --hash=sha256:{'0' * 64}\nother==2.0 \\\n    --hash=sha256:{'1' * 64}\n"


class _Database(BaseHTTPRequestHandler):
    """An advisory database in OSV's form that knows of one vulnerability."""

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        found = {}
        if asked["package"]["name"] == self.server.vulnerable:  # type: ignore[attr-defined]
            affected = {
                "package": {"name": "some-package", "ecosystem": "PyPI"},
                "ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": "1.1"}]}],
            }
            found = {"vulns": [{"id": "PYSEC-1", "summary": "bad", "aliases": ["CVE-1"], "affected": [affected]}]}
        body = json.dumps(found).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the library's name
        """Say nothing."""


@contextmanager
def database(vulnerable: str) -> Iterator[str]:
    """A running one; its address."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Database)
    server.vulnerable = vulnerable  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1/query"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def audit(tmp_path: Path, url: str) -> subprocess.CompletedProcess[str]:
    """Run it over a lock of two packages."""
    (tmp_path / "lock").write_text(LOCK)
    return subprocess.run(
        [sys.executable, ".ci/audit", str(tmp_path / "lock")],
        cwd=ROOT, env={**os.environ, "LACAK_OSV_URL": url, "XDG_CACHE_HOME": str(tmp_path)}, capture_output=True,
        text=True, check=False,
    )  # fmt: skip


def test_a_finding_fails(tmp_path: Path) -> None:
    with database("some-package") as url:
        done = audit(tmp_path, url)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "some-package 1.0: PYSEC-1, CVE-1; fixed in 1.1" in done.stdout


def test_nothing_known_passes(tmp_path: Path) -> None:
    with database("nothing") as url:
        done = audit(tmp_path, url)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 packages, 0 with known vulnerabilities" in done.stdout


def test_no_answer_is_neither(tmp_path: Path) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        done = audit(tmp_path, f"http://127.0.0.1:{nobody.getsockname()[1]}/v1/query")
    assert done.returncode == 75, done.stdout + done.stderr
