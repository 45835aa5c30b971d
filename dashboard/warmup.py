"""Nobody meets a cold server.

The dashboard listens at once, so that the browser can fetch the page's scripts while Python imports torch; websockets
wait at the door until the server has opened its first page for itself, as a viewer nobody sees: that imports what the
pages import and opens the first model. The surprise: after that everything alive is frozen, because a collection that
walks the imported libraries stops every viewer for 0.2 s.
"""

import asyncio
import gc
import logging
import time
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

LOG = logging.getLogger("cnnviz")


class Warm:
    """`app`, with its websockets held back until `up` has opened the first page once."""

    def __init__(self, app: ASGIApp, *, patience: float = 120.0) -> None:
        self.app = app
        self.patience = patience
        self.ready = asyncio.Event()
        self.seconds = 0.0
        self.problem = ""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket" and not self.ready.is_set():
            connect = await receive()
            if not await self._ready_before(receive):
                return
            receive = _first(connect, receive)
        await self.app(scope, receive, send)

    async def _ready_before(self, receive: Receive) -> bool:
        """Wait until the server is ready, or, if that comes first, until this viewer leaves or the server stops."""
        ready, left = asyncio.ensure_future(self.ready.wait()), asyncio.ensure_future(receive())
        done, waiting = await asyncio.wait((ready, left), return_when=asyncio.FIRST_COMPLETED)
        for task in waiting:
            task.cancel()
        return left not in done

    async def up(self) -> None:
        """Open the first page, then freeze; whatever fails is logged and told by /api/ready, and viewers come in."""
        start = time.perf_counter()
        try:
            await asyncio.wait_for(first_view(self.app), self.patience)
        except Exception as error:
            LOG.exception("The first page could not be opened in advance")
            self.problem = str(error) or type(error).__name__
        gc.collect()
        gc.freeze()
        self.seconds = round(time.perf_counter() - start, 2)
        self.ready.set()

    async def report(self, request: Request) -> JSONResponse:
        """GET /api/ready: 200 when the first page has been opened, 503 before that or when it could not be."""
        ready = self.ready.is_set() and not self.problem
        body = {"ready": ready, "seconds": self.seconds, "problem": self.problem}
        return JSONResponse(body, status_code=200 if ready else 503, headers={"Cache-Control": "no-store"})


def _first(message: Message, receive: Receive) -> Receive:
    """`receive`, with a message that was already taken put back in front."""
    messages = [message]

    async def receiving() -> Message:
        return messages.pop() if messages else await receive()

    return receiving


async def first_view(app: ASGIApp, path: str = "/_stcore/stream") -> None:
    """Be the first viewer: connect, ask for the opening page, leave when its script has finished.

    Raises `RuntimeError` when the application closes the connection early, or when the page shows an error.
    """
    from streamlit.proto.BackMsg_pb2 import BackMsg
    from streamlit.proto.ForwardMsg_pb2 import ForwardMsg

    finished, errors = asyncio.Event(), []
    question = BackMsg()
    question.rerun_script.query_string = ""
    steps = iter(({"type": "websocket.connect"}, {"type": "websocket.receive", "bytes": question.SerializeToString()}))

    async def receive() -> Message:
        step = next(steps, None)
        if step is None:
            await finished.wait()
        return step or {"type": "websocket.disconnect", "code": 1000}

    async def send(message: Message) -> None:
        sent = ForwardMsg.FromString(message.get("bytes") or b"")
        errors.extend(errors_in(sent))
        if sent.WhichOneof("type") == "script_finished":
            finished.set()

    await app(_websocket_scope(path), receive, send)
    if not finished.is_set():
        raise RuntimeError("the application closed the connection before its first page was finished")
    if errors:
        raise RuntimeError(f"the first page shows an error: {errors[0]}")


def errors_in(sent: Any) -> list[str]:
    """The texts of the error boxes in one message (a `ForwardMsg`) to the browser."""
    element = sent.delta.new_element
    if element.WhichOneof("type") == "exception":
        return [element.exception.message]
    is_error = element.WhichOneof("type") == "alert" and element.alert.format == element.alert.ERROR
    return [element.alert.body] if is_error else []


def _websocket_scope(path: str) -> Scope:
    return {
        "type": "websocket",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": "1.1",
        "scheme": "ws",
        "path": path,
        "raw_path": path.encode(),
        "root_path": "",
        "query_string": b"",
        "headers": [(b"host", b"localhost")],
        "client": ("127.0.0.1", 0),
        "server": ("127.0.0.1", 0),
        "subprotocols": ["streamlit"],
        "state": {},
        "extensions": {},
    }
