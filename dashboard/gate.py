"""Who may speak to the dashboard, and what every answer carries.

The gate is plain ASGI round the whole application, so nothing (pages, static files, media, uploads, the websocket) is
served past it. The surprise: a foreign Origin has to be refused here, because Streamlit, asked to judge one, first
fetches this machine's public address from an outside host.
"""

import hmac
import ipaddress
import re
from urllib.parse import parse_qsl, urlencode

from starlette.datastructures import MutableHeaders
from starlette.requests import HTTPConnection
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

# 'unsafe-inline' and 'unsafe-eval' are what Streamlit's own page and its Vega charts need; what the policy buys is that
# the browser itself refuses to fetch from, or send to, anywhere but this server.
POLICY = "; ".join(
    (
        "default-src 'self'",
        "script-src 'self' 'unsafe-inline' 'unsafe-eval' blob: data:",
        "worker-src 'self' blob:",
        "style-src 'self' 'unsafe-inline'",
        "img-src 'self' data: blob:",
        "media-src 'self' data: blob:",
        "font-src 'self' data:",
        "connect-src 'self' data: blob:",
        "object-src 'none'",
        "base-uri 'self'",
        "form-action 'self'",
        "frame-ancestors 'self'",
    )
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "Permissions-Policy": "camera=(self), geolocation=(), microphone=()",
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "SAMEORIGIN",
}
LOOPBACK_NAMES = ("localhost", "127.0.0.1", "[::1]")

_HOST = re.compile(r"(?P<name>[\w.-]+|\[[\da-f:.]+\])(?::\d{1,5})?", re.ASCII | re.IGNORECASE)


def is_loopback(host: str) -> bool:
    """Whether only programs on this machine can reach a server bound to `host`."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class Gate:
    """Let a request through to `app` when its Host, Origin and token are right.

    `hosts` are the names a browser may have used for this server (None: any, for then the token protects it); they
    stop a foreign page whose name has been rebound to this machine. `token`, where set, has to come once in the query
    of a link; the browser then keeps it in a cookie that scripts cannot read.
    """

    def __init__(self, app: ASGIApp, *, hosts: tuple[str, ...] | None, token: str | None, port: int) -> None:
        self.app = app
        self.hosts = hosts
        self.token = token
        self.cookie = f"cnnviz-token-{port}"  # a browser shares cookies between the ports of one host

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            return await self.app(scope, receive, send)
        answer = self.refusal(HTTPConnection(scope)) or self.welcome(HTTPConnection(scope))
        if answer is None:
            return await self.app(scope, receive, _with_headers(send))
        if scope["type"] == "http":
            return await answer(scope, receive, _with_headers(send))
        await send({"type": "websocket.close", "code": 1008})  # before it is accepted: the browser sees a 403

    def refusal(self, request: HTTPConnection) -> Response | None:
        """The answer to a request that must not be served, or None."""
        host = request.headers.get("host", "")
        if not self._is_ours(host):
            return PlainTextResponse(f"This dashboard does not answer to the name {host!r}.\n", 403)
        origin = request.headers.get("origin")
        if origin is not None and origin.partition("://")[2] != host:
            return PlainTextResponse("This dashboard answers its own pages only.\n", 403)
        if self.token and not self._has_token(request):
            sentence = (
                "This dashboard is opened with the whole link that was printed where it was started, token included.\n"
            )
            return PlainTextResponse(sentence, 401)
        return None

    def welcome(self, request: HTTPConnection) -> Response | None:
        """Where a link brought the token: move it from the address to a cookie."""
        if not self.token or request.scope["type"] != "http" or "token" not in request.query_params:
            return None
        query = urlencode([pair for pair in parse_qsl(request.url.query, True) if pair[0] != "token"])
        # one slash only: `//elsewhere` would lead to another host
        path = "/" + request.scope["path"].lstrip("/\\")
        response = RedirectResponse(path + ("?" + query if query else ""), 303)
        response.set_cookie(self.cookie, self.token, httponly=True, samesite="lax", path="/")
        return response

    def _is_ours(self, host: str) -> bool:
        match = _HOST.fullmatch(host)
        return match is not None and (self.hosts is None or match["name"].lower().rstrip(".") in self.hosts)

    def _has_token(self, request: HTTPConnection) -> bool:
        given = (request.cookies.get(self.cookie, ""), request.query_params.get("token", ""))
        return any(hmac.compare_digest(token.encode(), str(self.token).encode()) for token in given)


def _with_headers(send: Send) -> Send:
    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            MutableHeaders(scope=message).update(HEADERS)
        await send(message)

    return sending
