"""A headless Chromium, led over the DevTools protocol through a pipe: no driver, no port, no dependency."""

import base64
import json
import os
import select
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

TIMEOUT = 60  # seconds for any single answer; machines that run tests are busy

_FLAGS = (
    "--headless=new",
    "--no-sandbox",  # tests run as root in containers
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-extensions",
    "--no-first-run",
    "--hide-scrollbars",
    "--force-color-profile=srgb",
    "--remote-debugging-pipe",
    "about:blank",
)


class Page(NamedTuple):
    """What a page did while it was loaded. errors: of scripts, of the console, and of the content security policy."""

    errors: list[str]
    requests: list[str]
    dialogs: list[str]


class Browser:
    """One tab. Commands are sent and answered one after another; events are kept."""

    def __init__(self, to: int, back: int) -> None:
        self._to, self._back = to, back
        self._buffer = b""
        self._number = 0
        self._session: str | None = None
        self._events: list[dict[str, Any]] = []
        target = self.command("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.command("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.command(f"{domain}.enable")

    def command(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Sends one command and gives its result."""
        self._number += 1
        message: dict[str, Any] = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._to, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._read()
            if answer.get("id") == self._number:
                assert "error" not in answer, f"{method}: {answer['error']}"
                return answer["result"]

    def _read(self) -> dict[str, Any]:
        """The next message; events are kept on the way."""
        while b"\0" not in self._buffer:
            ready, _, _ = select.select([self._back], [], [], TIMEOUT)
            assert ready, "Chromium does not answer"
            data = os.read(self._back, 1 << 20)
            assert data, "Chromium has ended"
            self._buffer += data
        raw, _, self._buffer = self._buffer.partition(b"\0")
        message = json.loads(raw)
        if "method" in message:
            self._events.append(message)
            if message["method"] == "Page.javascriptDialogOpening":  # or the page would wait for ever
                os.write(self._to, json.dumps(self._close_dialog()).encode() + b"\0")
        return message

    def open(self, path: Path, width: int, height: int = 900, dark: bool = False, script: bool = True) -> Page:
        """Loads a file in a window of this size and theme, and waits until it has drawn."""
        self.resize(width, height)
        self.media(dark=dark)
        self.command("Emulation.setScriptExecutionDisabled", value=not script)
        self._events.clear()
        self.command("Page.navigate", url=path.absolute().as_uri())
        deadline = time.monotonic() + TIMEOUT
        while not any(event["method"] == "Page.loadEventFired" for event in self._events):
            assert time.monotonic() < deadline, "the page does not load"
            self._read()
        if script:
            self.settle()
        dialogs = [e["params"]["message"] for e in self._events if e["method"] == "Page.javascriptDialogOpening"]
        return Page([*self._errors()], [*self._requests(path)], dialogs)

    def resize(self, width: int, height: int = 900) -> None:
        phone = width < 600
        self.command(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=phone
        )

    def settle(self) -> None:
        """Waits until what has changed has been drawn."""
        self.evaluate(
            "new Promise(done => requestAnimationFrame(() => requestAnimationFrame(() => setTimeout(done, 20))))"
        )

    def point(self, x: float, y: float, touch: bool = False) -> None:
        """Moves the mouse there, or taps."""
        if touch:
            self.command("Emulation.setTouchEmulationEnabled", enabled=True)
            self.command("Input.dispatchTouchEvent", type="touchStart", touchPoints=[{"x": x, "y": y}])
            self.command("Input.dispatchTouchEvent", type="touchEnd", touchPoints=[])
            self.command("Emulation.setTouchEmulationEnabled", enabled=False)
        else:
            self.command("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)

    def media(self, dark: bool = False, media: str = "") -> None:
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.command("Emulation.setEmulatedMedia", media=media, features=[scheme])

    def evaluate(self, expression: str) -> Any:
        """The value of a JavaScript expression, awaited."""
        result = self.command("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in result, result["exceptionDetails"]
        return result["result"].get("value")

    def picture(self, path: Path) -> None:
        """The whole page as PNG."""
        size = self.command("Page.getLayoutMetrics")["cssContentSize"]
        clip = {"x": 0, "y": 0, "width": size["width"], "height": size["height"], "scale": 1}
        shot = self.command("Page.captureScreenshot", format="png", captureBeyondViewport=True, clip=clip)
        path.write_bytes(base64.b64decode(shot["data"]))

    def _close_dialog(self) -> dict[str, Any]:
        message = {"id": -1, "method": "Page.handleJavaScriptDialog", "params": {"accept": True}}
        return message | {"sessionId": self._session}

    def _errors(self) -> Iterator[str]:
        for event in self._events:
            what = event["params"]
            if event["method"] == "Runtime.exceptionThrown":
                details = what["exceptionDetails"]
                yield details.get("exception", {}).get("description") or details["text"]
            elif event["method"] == "Runtime.consoleAPICalled":
                yield f"{what['type']}: {[argument.get('value') for argument in what['args']]}"
            elif event["method"] == "Log.entryAdded":
                yield f"{what['entry']['level']}: {what['entry']['text']}"

    def _requests(self, path: Path) -> Iterator[str]:
        for event in self._events:
            if event["method"] == "Network.requestWillBeSent":
                url = event["params"]["request"]["url"]
                if url != path.absolute().as_uri() and not url.startswith("data:"):
                    yield url


def quiet(page: Page) -> None:
    """Nothing went wrong on the page, and nothing was fetched."""
    assert page.errors == []
    assert page.requests == []
    assert page.dialogs == []


@contextmanager
def started(command: str) -> Iterator[Browser]:
    """A Chromium with a profile of its own, ended with the block."""
    read_commands, to = os.pipe()
    back, write_answers = os.pipe()

    def place_pipes() -> None:  # Chromium reads commands from 3 and writes answers to 4
        first, second = os.dup(read_commands), os.dup(write_answers)
        os.dup2(first, 3)
        os.dup2(second, 4)

    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        process = subprocess.Popen(
            [command, f"--user-data-dir={profile}", *_FLAGS],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            preexec_fn=place_pipes,
            close_fds=False,
        )
        os.close(read_commands)
        os.close(write_answers)
        try:
            yield Browser(to, back)
        finally:
            process.kill()
            process.wait()
            os.close(to)
            os.close(back)
