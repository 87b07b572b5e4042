"""What a headless Chromium makes of a page: its complaints, its requests, and what it drew. Needs nothing but itself.

Chromium is spoken to over its debugging pipe (file descriptors 3 and 4, one JSON object after another, a zero byte
between them), so that no driver and no open port is needed.
"""

import base64
import fcntl
import json
import os
import select
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
REASON = "no chromium: apt-get install chromium"
QUIET = (
    *("headless=new", "no-sandbox", "disable-gpu", "disable-dev-shm-usage", "hide-scrollbars", "mute-audio"),
    *("no-first-run", "no-default-browser-check", "disable-background-networking", "disable-component-update"),
    *("disable-sync", "disable-extensions", "remote-debugging-pipe"),
)
ON_3_AND_4 = """
import os, sys
os.dup2(int(sys.argv[1]), 3)
os.dup2(int(sys.argv[2]), 4)
os.execv(sys.argv[3], sys.argv[3:])
"""
TIMEOUT_SECONDS = 120.0
MEASURE = """
(async () => {
  if (document.readyState !== "complete") await new Promise((done) => addEventListener("load", done));
  const box = (e) => { const r = e.getBoundingClientRect(); return [r.left, r.top, r.right, r.bottom]; };
  const images = [...document.images];
  for (const image of images) { image.loading = "eager"; await image.decode().catch(() => {}); }
  return {
    title: document.title,
    width: [document.documentElement.scrollWidth, window.innerWidth],
    images: images.map((i) => ({alt: i.alt, pixels: [i.naturalWidth, i.naturalHeight], box: box(i)})),
    formulas: [...document.querySelectorAll("math")].map((m) => ({
      namespace: m.namespaceURI, text: m.textContent, box: box(m),
      powers: [...m.querySelectorAll("msup")].map((e) => [...e.children].map(box)),
      indices: [...m.querySelectorAll("msub")].map((e) => [...e.children].map(box)),
      fractions: [...m.querySelectorAll("mfrac")].map((e) => [...e.children].map(box)),
    })),
    words: document.body.innerText,
  };
})()
"""


class Seen(NamedTuple):
    """A page as it was drawn.

    Attributes:
        complaints: errors and warnings of the console, and what the browser logged.
        requests: addresses that were asked for, besides the page itself and data it carries.
        drawn: title, width, images, formulas and words, see MEASURE; boxes are left, top, right, bottom in CSS pixels.
    """

    complaints: list
    requests: list
    drawn: dict


class Browser:
    """One Chromium for several pages, each in a tab of its own; ends with its ``with`` block."""

    def __init__(self):
        self.profile = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        self.session = _Session(self.profile.name)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.session.close()
        self.profile.cleanup()

    def look_at(self, page, width=1280, height=900, dark=False, screenshot=None):
        """Opens a file: path -> Seen; ``screenshot`` is where a picture of the whole page shall go."""
        session, address = self.session, Path(page).resolve().as_uri()
        session.start_tab()
        for domain in ("Page", "Runtime", "Log", "Network"):
            session.call(f"{domain}.enable")
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        session.call("Emulation.setDeviceMetricsOverride", **size)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        session.call("Emulation.setEmulatedMedia", features=[scheme])
        session.call("Page.navigate", url=address)
        session.wait_for("Page.frameNavigated", lambda event: event["frame"]["url"] == address)
        answer = session.call("Runtime.evaluate", expression=MEASURE, awaitPromise=True, returnByValue=True)
        if screenshot:
            shot = session.call("Page.captureScreenshot", captureBeyondViewport=True)
            Path(screenshot).write_bytes(base64.b64decode(shot["data"]))
        asked = [event["request"]["url"] for event in session.events("Network.requestWillBeSent")]
        requests = [a for a in asked if a != address and not a.startswith("data:")]
        seen = Seen(_complaints(session), requests, answer["result"].get("value"))
        session.end_tab()
        return seen


def _complaints(session):
    found = [event["exceptionDetails"]["text"] for event in session.events("Runtime.exceptionThrown")]
    for event in session.events("Runtime.consoleAPICalled"):
        if event["type"] in ("error", "warning", "assert"):
            found.append(" ".join(str(part.get("value", part.get("description"))) for part in event["args"]))
    entries = [event["entry"] for event in session.events("Log.entryAdded")]
    return found + [entry["text"] for entry in entries if entry["level"] in ("error", "warning")]


class _Session:
    def __init__(self, profile):
        ends = [*os.pipe(), *os.pipe()]
        read_by_it, self.to_it, self.from_it, written_by_it = (fcntl.fcntl(end, fcntl.F_DUPFD, 10) for end in ends)
        for end in ends:
            os.close(end)
        theirs = (read_by_it, written_by_it)
        flags = [f"--{flag}" for flag in (*QUIET, f"user-data-dir={profile}")]
        command = [sys.executable, "-c", ON_3_AND_4, *map(str, theirs), CHROMIUM, *flags]
        quiet = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        home = {**os.environ, "HOME": profile}
        self.process = subprocess.Popen(command, pass_fds=theirs, env=home, **quiet)
        for end in theirs:
            os.close(end)
        self.name, self.tab, self.number, self.received, self.rest = None, None, 0, [], b""

    def start_tab(self):
        self.tab = self.call("Target.createTarget", url="about:blank")["targetId"]
        self.name = self.call("Target.attachToTarget", targetId=self.tab, flatten=True)["sessionId"]

    def end_tab(self):
        self.name, self.received = None, []
        self.call("Target.closeTarget", targetId=self.tab)

    def call(self, method, **params):
        self.number += 1
        message = {"id": self.number, "method": method, "params": params}
        if self.name:
            message["sessionId"] = self.name
        os.write(self.to_it, json.dumps(message).encode() + b"\0")
        answer = self._until(lambda got: got.get("id") == self.number)
        if "error" in answer:
            raise RuntimeError(f"{method}: {answer['error']}")
        return answer["result"]

    def wait_for(self, method, right):
        self._until(lambda got: got.get("method") == method and right(got["params"]))

    def events(self, method):
        mine = [got for got in self.received if got.get("sessionId") == self.name]
        return [got["params"] for got in mine if got.get("method") == method]

    def _until(self, wanted):
        end = time.monotonic() + TIMEOUT_SECONDS
        at = 0
        while True:
            for got in self.received[at:]:
                if wanted(got):
                    return got
            at = len(self.received)
            if not select.select([self.from_it], [], [], max(end - time.monotonic(), 0))[0]:
                raise TimeoutError(f"chromium said nothing for {TIMEOUT_SECONDS:g} s")
            data = os.read(self.from_it, 1 << 20)
            if not data:
                raise RuntimeError(f"chromium went away with status {self.process.wait()}")
            *whole, self.rest = (self.rest + data).split(b"\0")
            self.received += [json.loads(message) for message in whole]

    def close(self):
        os.close(self.to_it)
        os.close(self.from_it)
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
