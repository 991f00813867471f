"""A headless Chromium, spoken to over a pipe: a page is opened, asked and looked at."""

import base64
import json
import os
import select
import shutil
import subprocess
import sys
from contextlib import contextmanager, suppress

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome-headless-shell")
FLAGS = (
    *("--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-extensions"),
    *("--disable-background-networking", "--disable-dev-shm-usage", "--remote-debugging-pipe"),
)
PATIENCE = 120
"""Seconds after which a browser that does not answer fails a test."""


def found():
    """The browser here; a test that needs one is skipped, with the reason, where there is none."""
    path = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)
    if path is None:
        pytest.skip(f"no browser here: apt-get install chromium (none of {', '.join(NAMES)})")
    if sys.platform == "win32":
        pytest.skip("the pipe to the browser is made as POSIX has it")
    return path


class Page:
    """One page; ``requests`` are the addresses that it asked for, ``errors`` what it complained."""

    def __init__(self, write, read, width, height):
        self._write, self._read = write, read
        self._number, self._session, self._buffer = 0, None, b""
        self.requests, self.errors = [], []
        self._loaded = False
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        attached = self.call("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")
        self.resize(width, height)

    def call(self, method, **parameters):
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._write, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._next()
            if answer.get("id") == self._number:
                assert "error" not in answer, answer
                return answer["result"]
            self._note(answer)

    def open(self, path, fragment=""):
        for url in ("about:blank", path.resolve().as_uri() + fragment):
            self._loaded = False
            self.call("Page.navigate", url=url)
            while not self._loaded:
                self._note(self._next())
        self.ask(
            f"new Promise(done => {2 * 'requestAnimationFrame(() => '}setTimeout(done){2 * ')'})"
        )

    def ask(self, expression):
        """What an expression of JavaScript, or the promise that it is, comes to."""
        options = {"returnByValue": True, "awaitPromise": True}
        answer = self.call("Runtime.evaluate", expression=expression, **options)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def key(self, name, text=""):
        about = {"key": name, "code": name, **({"text": text} if text else {})}
        self.call("Input.dispatchKeyEvent", type="keyDown", **about)
        self.call("Input.dispatchKeyEvent", type="keyUp", **about)

    def click(self, selector):
        """Press the mouse on the middle of the first element of a selector."""
        place = self.ask(
            f"(() => {{ const e = document.querySelector({json.dumps(selector)});"
            " e.scrollIntoView({block: 'center', inline: 'center'});"
            " const b = e.getBoundingClientRect();"
            " return [b.x + b.width / 2, b.y + b.height / 2]; })()"
        )
        about = {"x": place[0], "y": place[1], "button": "left", "clickCount": 1}
        for kind in ("mouseMoved", "mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=kind, **about)

    def resize(self, width, height, mobile=False):
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": mobile}
        self.call("Emulation.setDeviceMetricsOverride", **size)

    def scheme(self, name):
        feature = {"name": "prefers-color-scheme", "value": name}
        self.call("Emulation.setEmulatedMedia", features=[feature])

    def picture(self, path):
        data = self.call("Page.captureScreenshot", format="png")["data"]
        path.write_bytes(base64.b64decode(data))

    def _next(self):
        while b"\0" not in self._buffer:
            assert select.select([self._read], [], [], PATIENCE)[0], "the browser does not answer"
            data = os.read(self._read, 2**20)
            assert data, "the browser ended"
            self._buffer += data
        message, _, self._buffer = self._buffer.partition(b"\0")
        return json.loads(message)

    def _note(self, event):
        method, about = event.get("method"), event.get("params", {})
        if method == "Page.loadEventFired":
            self._loaded = True
        elif method == "Network.requestWillBeSent":
            self.requests.append(about["request"]["url"])
        elif method == "Runtime.exceptionThrown":
            self.errors.append(json.dumps(about["exceptionDetails"]))
        elif method == "Log.entryAdded" and about["entry"]["level"] in ("error", "warning"):
            self.errors.append(about["entry"]["text"])
        elif method == "Runtime.consoleAPICalled" and about["type"] in ("error", "warning"):
            self.errors.append(json.dumps(about["args"]))


@contextmanager
def page(profile, width=1400, height=900):
    """A page in a browser of its own, whose profile is a folder."""
    ours, theirs = os.pipe(), os.pipe()

    def wired():
        """The browser reads from descriptor 3 and writes to 4."""
        read, write = os.dup(ours[0]), os.dup(theirs[1])
        os.dup2(read, 3)
        os.dup2(write, 4)

    browser = subprocess.Popen(
        [found(), *FLAGS, f"--user-data-dir={profile}"],
        preexec_fn=wired,
        close_fds=False,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    os.close(ours[0])
    os.close(theirs[1])
    try:
        yield Page(ours[1], theirs[0], width, height)
    finally:
        os.close(ours[1])
        with suppress(subprocess.TimeoutExpired):
            browser.wait(10)
        browser.kill()
        browser.wait()
        os.close(theirs[0])
