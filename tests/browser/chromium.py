"""A headless Chromium, driven over the DevTools protocol."""

import base64
import contextlib
import json
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
from websockets.sync.client import ClientConnection, connect

FLAGS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update", "--hide-scrollbars",
    "--remote-debugging-port=0", "--window-size=1000,720",
]  # fmt: skip


class Page:
    """One tab."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket
        self._number = 0

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """One command of the protocol, and its result."""
        self._number += 1
        self._socket.send(json.dumps({"id": self._number, "method": method, "params": parameters}))
        while True:
            message = json.loads(self._socket.recv(timeout=30))
            if message.get("id") == self._number:
                assert "error" not in message, message
                return message["result"]

    def run(self, script: str) -> Any:
        """The value of a script, awaited; a script that throws fails the test."""
        found = self.call("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in found, found["exceptionDetails"]
        return found["result"].get("value")

    def until(self, script: str, seconds: float = 30.0) -> Any:
        """The script's value, once it is true."""
        ends_at = time.monotonic() + seconds
        while not (value := self.run(script)):
            assert time.monotonic() < ends_at, f"{script}\n{self.run('document.body.innerText')}"
            time.sleep(0.05)
        return value

    def screenshot(self, path: Path) -> None:
        """What it shows, as a PNG."""
        path.write_bytes(base64.b64decode(self.call("Page.captureScreenshot", format="png")["data"]))


@contextlib.contextmanager
def page(url: str) -> Iterator[Page]:
    """A tab of a browser of its own, at this address."""
    binary = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    assert binary, "Chromium is not installed"
    with tempfile.TemporaryDirectory(prefix="filewire-chromium-", ignore_cleanup_errors=True) as profile:
        command = [binary, *FLAGS, f"--user-data-dir={profile}", url]
        browser = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            port_file = Path(profile) / "DevToolsActivePort"
            ends_at = time.monotonic() + 60
            while not port_file.exists() or not port_file.read_text().strip():
                assert browser.poll() is None and time.monotonic() < ends_at, "Chromium did not start"  # noqa: PT018
                time.sleep(0.05)
            port = port_file.read_text().split()[0]
            while not (tabs := [tab for tab in _tabs(port) if tab["type"] == "page"]):
                assert time.monotonic() < ends_at, "Chromium has no page"
                time.sleep(0.05)
            with connect(tabs[0]["webSocketDebuggerUrl"], max_size=None) as socket:
                tab = Page(socket)
                tab.until("location.href !== 'about:blank' && document.readyState === 'complete'")
                yield tab
        finally:
            browser.terminate()
            browser.wait(20)


def _tabs(port: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = httpx.get(f"http://127.0.0.1:{port}/json/list", timeout=20).json()
    return found
