"""The dashboard in a process of its own, and the two clients that talk to it without a browser.

    with serving("--port", "0", folder=tmp_path) as served:
        served.wait_until_ready()
        served.get("/").status
        view(served, "layer=conv2")     # every message that one run of the opening page sends

The surprise: `pages` serves a script of the test's own in place of the real one, through the same server.
"""

import contextlib
import http.client
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from websockets.sync.client import connect

ROOT = Path(__file__).resolve().parent.parent
WITH_PAGES = (
    "import sys, pathlib, dashboard.server as s; sys.exit(s.main(sys.argv[2:], pages=pathlib.Path(sys.argv[1])))"
)
UPGRADE = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
    "Sec-WebSocket-Protocol": "streamlit",
}


@dataclass(frozen=True)
class Answer:
    """One HTTP answer, not followed: status, headers (lower case), body."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True)
class Served:
    """A running server: `url` without a closing slash, the first `link` it printed, and the file of all it printed."""

    process: "subprocess.Popen[bytes]"
    url: str
    link: str
    output: Path

    def get(self, path: str, headers: Mapping[str, str] | None = None, *, method: str = "GET") -> Answer:
        """Ask for `path` once, with `headers` (a Host among them replaces the right one)."""
        connection = http.client.HTTPConnection(urlsplit(self.url).netloc, timeout=30)
        try:
            connection.request(method, path, headers=dict(headers or {}))
            response = connection.getresponse()
            body = b"" if response.status == 101 else response.read()
            return Answer(response.status, {name.lower(): value for name, value in response.getheaders()}, body)
        finally:
            connection.close()

    def knock(self, headers: Mapping[str, str] | None = None) -> int:
        """The status of a websocket handshake with `headers`: 101 when it is let in."""
        return self.get("/_stcore/stream", UPGRADE | dict(headers or {})).status

    def log(self) -> str:
        """Everything printed so far."""
        return self.output.read_text(encoding="utf-8", errors="replace")

    def wait_until_ready(self, seconds: float = 120) -> None:
        """Return when /api/ready says so; raises `AssertionError` with the log when it says that it never will."""
        end = time.monotonic() + seconds
        while (answer := self.get("/api/ready")).status != 200:
            failed = b'"problem":""' not in answer.body
            assert not failed and time.monotonic() < end, f"not ready: {answer.body!r}\n{self.log()}"
            time.sleep(0.1)

    def wait_until_healthy(self, seconds: float = 60) -> None:
        """Return when Streamlit's own health check answers, ready or not."""
        end = time.monotonic() + seconds
        while True:
            with contextlib.suppress(OSError):
                if self.get("/_stcore/health").status == 200:
                    return
            assert self.process.poll() is None and time.monotonic() < end, f"it does not answer:\n{self.log()}"
            time.sleep(0.1)

    def stop(self, seconds: float = 15) -> int:
        """Press Ctrl-C; returns the exit status."""
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(seconds)


@contextlib.contextmanager
def serving(*arguments: str, folder: Path, pages: Path | None = None, cwd: Path = ROOT) -> Iterator[Served]:
    """Serve until the block ends. `folder` takes the log; `pages` is a script to serve in place of the dashboard's."""
    command = [sys.executable, "-c", WITH_PAGES, str(pages)] if pages else [sys.executable, "-m", "dashboard"]
    output = folder / "server.log"
    environment = os.environ | {"PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1", "OMP_NUM_THREADS": "1"}
    with output.open("wb") as log:
        process = subprocess.Popen(
            [*command, *arguments, "--no-browser"], cwd=cwd, env=environment, stdout=log, stderr=subprocess.STDOUT
        )
    try:
        link = _printed_link(process, output)
        yield Served(process, f"http://127.0.0.1:{urlsplit(link).port}", link, output)
    finally:
        if process.poll() is None:
            process.terminate()
            process.wait(15)


def view(served: Served, query: str = "", headers: Mapping[str, str] | None = None) -> list[ForwardMsg]:
    """Be a viewer for one run of the opening page: every message it sends."""
    address = served.url.replace("http", "ws", 1) + "/_stcore/stream"
    question = BackMsg()
    question.rerun_script.query_string = query
    with connect(address, subprotocols=["streamlit"], additional_headers=dict(headers or {}), max_size=None) as socket:  # type: ignore[list-item]
        socket.send(question.SerializeToString())
        messages = []
        while not messages or messages[-1].WhichOneof("type") != "script_finished":
            messages.append(ForwardMsg.FromString(socket.recv(60)))  # type: ignore[arg-type]
        return messages


def texts(messages: list[ForwardMsg]) -> list[str]:
    """What the messages would put on the page: Markdown, alerts and exceptions, in order."""
    elements = [m.delta.new_element for m in messages if m.WhichOneof("type") == "delta"]
    return [
        getattr(e, e.WhichOneof("type")).body for e in elements if e.WhichOneof("type") in ("markdown", "alert")
    ] + [e.exception.message for e in elements if e.WhichOneof("type") == "exception"]


def _printed_link(process: "subprocess.Popen[bytes]", output: Path, seconds: float = 60) -> str:
    end = time.monotonic() + seconds
    while True:
        printed = output.read_text(encoding="utf-8", errors="replace")
        if found := re.search(r"cnnviz is at (\S+)", printed):
            return found[1]
        assert process.poll() is None and time.monotonic() < end, f"the server did not start:\n{printed}"
        time.sleep(0.05)
