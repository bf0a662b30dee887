"""A real browser for tests: headless Chromium driven through chromedriver's HTTP interface, standard library only."""

from __future__ import annotations

import argparse
import base64
import json
import re
import shutil
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path
from types import TracebackType
from typing import Any, Self

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
DRIVER = shutil.which("chromedriver")
FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--hide-scrollbars",
)


class Browser:
    """One browser window; use as a context manager."""

    def __init__(self, *, width: int = 1280, height: int = 900, phone: bool = False) -> None:
        if CHROMIUM is None or DRIVER is None:
            raise RuntimeError("needs chromium and chromedriver on the PATH")
        self._profile = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        printed = Path(self._profile.name, "chromedriver.txt")
        with printed.open("wb") as output:  # port 0: one that is free, so that several tests can run at once
            self._driver = subprocess.Popen([DRIVER, "--port=0"], stdout=output, stderr=subprocess.DEVNULL)
        options: dict[str, Any] = {
            "binary": CHROMIUM,
            "args": [*FLAGS, f"--window-size={width},{height}", f"--user-data-dir={self._profile.name}"],
        }
        if phone:
            metrics = {"width": 390, "height": 844, "pixelRatio": 2, "mobile": True, "touch": True}
            options["mobileEmulation"] = {"deviceMetrics": metrics}
        capabilities = {"goog:chromeOptions": options, "goog:loggingPrefs": {"browser": "ALL"}}
        try:
            self._root = f"http://127.0.0.1:{self._port(printed)}"
            answer = self._call("POST", "/session", {"capabilities": {"alwaysMatch": capabilities}})
        except BaseException:
            self._stop()
            raise
        self._session = f"/session/{answer['sessionId']}"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._call("DELETE", self._session)
        finally:
            self._stop()

    def open(self, path: Path, fragment: str = "") -> None:
        """Open a file, and wait until it is loaded; a fragment alone would not load it anew.

        On a busy machine the driver returns while a page is still loading. It is asked through DevTools, which a page
        whose scripts are off answers too.
        """
        self._call("POST", f"{self._session}/url", {"url": "about:blank"})
        self._call("POST", f"{self._session}/url", {"url": path.resolve().as_uri() + fragment})
        for _ in range(600):
            state = self.command("Runtime.evaluate", expression="location.protocol + document.readyState")
            if state["result"].get("value") == "file:complete":
                return
            time.sleep(0.1)
        raise RuntimeError(f"chromedriver does not load {path}")

    def run(self, script: str, *arguments: Any) -> Any:
        """Run a function body in the page and return its result."""
        return self._call("POST", f"{self._session}/execute/sync", {"script": script, "args": list(arguments)})

    def press(self, keys: str) -> None:
        """Press keys one after the other, as a person does."""
        actions = [{"type": kind, "value": key} for key in keys for kind in ("keyDown", "keyUp")]
        self._call(
            "POST",
            f"{self._session}/actions",
            {"actions": [{"type": "key", "id": "keyboard", "actions": actions}]},
        )

    def errors(self) -> list[str]:
        """Return what the console has logged since the last call, refused loads included."""
        return [entry["message"] for entry in self._call("POST", f"{self._session}/se/log", {"type": "browser"})]

    def command(self, name: str, **parameters: Any) -> Any:
        """Send a DevTools command."""
        return self._call("POST", f"{self._session}/goog/cdp/execute", {"cmd": name, "params": parameters})

    def colours(self, scheme: str) -> None:
        """Make the page believe that the system prefers "light" or "dark"."""
        self.command("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])

    def size(self, width: int, height: int) -> None:
        """Give the page a window of that many CSS pixels, one of the picture's for each."""
        self.command(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False
        )

    def screenshot(self, path: Path, *, whole: bool = False) -> None:
        """Save the window, or the whole page, as PNG."""
        shot = self.command("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        if whole:
            size = self.command("Page.getLayoutMetrics")["cssContentSize"]
            clip = {"x": 0, "y": 0, "width": size["width"], "height": size["height"], "scale": 1}
            shot = self.command("Page.captureScreenshot", format="png", captureBeyondViewport=True, clip=clip)
        path.write_bytes(base64.b64decode(shot["data"]))

    def _port(self, printed: Path) -> str:
        """Wait until the driver says that it is ready, and on which port."""
        for _ in range(600):
            if found := re.search(r"started successfully on port (\d+)", printed.read_text()):
                return found[1]
            time.sleep(0.1)
        raise RuntimeError("chromedriver does not start")

    def _call(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self._root + path, data=data, method=method)
        request.add_header("Content-Type", "application/json")
        try:
            with urllib.request.urlopen(request, timeout=60) as response:
                return json.load(response)["value"]
        except urllib.error.HTTPError as error:
            with error:
                raise RuntimeError(f"chromedriver: {path}: {json.load(error)['value']['message']}") from None

    def _stop(self) -> None:
        self._driver.terminate()
        self._driver.wait(timeout=20)
        self._profile.cleanup()


def main() -> None:
    """Save a picture: `python tests/helpers/browser.py report.html picture.png [--dark] [--phone] [--whole]`."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("page", type=Path)
    parser.add_argument("picture", type=Path)
    parser.add_argument("--dark", action="store_true")
    parser.add_argument("--phone", action="store_true")
    parser.add_argument("--whole", action="store_true", help="the whole page instead of what the window shows")
    parser.add_argument("--height", type=int, default=1320, help="of the window, in pixels")
    options = parser.parse_args()
    with Browser(phone=options.phone, height=options.height) as browser:
        browser.open(options.page)
        browser.colours("dark" if options.dark else "light")
        browser.screenshot(options.picture, whole=options.whole)


if __name__ == "__main__":
    main()
