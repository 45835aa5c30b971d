"""`python -m dashboard`: the pages as an ASGI application under uvicorn, for this machine only unless told otherwise.

Why not `streamlit run`: its socket has no TCP_NODELAY (every drag of a slider waits 40 ms), it collects garbage after
every click, it asks outside hosts for addresses, it answers to any Host, and it lets the first viewer wait for torch.
The surprise: Streamlit reads config.toml from the working folder only, so every option that matters is set here too.
"""

import argparse
import asyncio
import contextlib
import errno
import logging
import os
import re
import secrets
import socket
import sys
import threading
import tomllib
import webbrowser
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.resources import files
from pathlib import Path
from typing import Any

import streamlit as st
import uvicorn
from starlette.responses import FileResponse
from starlette.routing import Route
from starlette.types import ASGIApp
from streamlit import config

from dashboard.gate import LOOPBACK_NAMES, Gate, is_loopback
from dashboard.warmup import Warm

LOG = logging.getLogger("cnnviz")
HERE = Path(__file__).resolve().parent
PAGES = HERE / "app.py"
THEME = HERE.parent / ".streamlit" / "config.toml"
PORT = 8501
PORTS_TO_TRY = 100
MESSAGE_BYTES = 25 * 2**20  # one message from a browser: a drawing is a few kB
CONNECTIONS = 512  # a browser keeps up to seven
OPTIONS = {
    "browser.gatherUsageStats": False,
    "client.showErrorDetails": "none",
    "client.showErrorLinks": False,
    "client.toolbarMode": "viewer",
    "global.disableWidgetStateDuplicationWarning": True,  # a new model sets the epoch's slider, which has a default
    "runner.magicEnabled": False,
    "runner.postScriptGC": False,
    "server.enableCORS": True,
    "server.enableStaticServing": True,
    "server.enableXsrfProtection": True,
    "server.fileWatcherType": "none",
    "server.headless": True,
    "server.maxUploadSize": 600,  # megabytes, for checkpoints; pictures are held to far less where they are read
}


class ServerError(Exception):
    """The server cannot start as asked; the message is the sentence to print."""


@dataclass(frozen=True)
class Address:
    """Where the server listens, and the token it asks for (None on this machine alone)."""

    host: str
    port: int
    token: str | None

    @property
    def links(self) -> tuple[str, ...]:
        """The links to print, the nearest first."""
        query = f"/?token={self.token}" if self.token else ""
        return tuple(f"http://{name}:{self.port}{query}" for name in _names(self.host))


def main(arguments: Sequence[str] | None = None, *, pages: Path = PAGES) -> int:
    """Serve `pages` until Ctrl-C; returns the exit status."""
    options = parser().parse_args(arguments)
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(message)s")
    try:
        listener = listen(options.host, options.port)
    except ServerError as error:
        print(error, file=sys.stderr)
        return 2
    port = listener.getsockname()[1]
    if options.port not in (0, port):
        print(f"Port {options.port} is taken; using {port} instead.", flush=True)
    address = Address(options.host, port, None if is_loopback(options.host) else secrets.token_urlsafe(16))
    announce = partial(_announce, address, browser=not options.no_browser)
    return serve(application(address, pages=pages, announce=announce), listener)


def parser() -> argparse.ArgumentParser:
    """The command line."""
    words = argparse.ArgumentParser(
        prog="python -m dashboard", description="See what a convolutional network has learned."
    )
    where = words.add_argument_group("where it is served")
    where.add_argument(
        "--port", type=_port, default=PORT, help="the first port to try (default: %(default)s; 0: any free one)"
    )
    where.add_argument(
        "--host",
        default="127.0.0.1",
        help="the address to listen on; other than this machine's own, the link carries a token",
    )
    where.add_argument("--no-browser", action="store_true", help="do not open a browser")
    return words


def application(address: Address, *, pages: Path = PAGES, announce: Callable[[], None] | None = None) -> ASGIApp:
    """The whole dashboard as one ASGI application; `announce` is called once, when it begins to answer."""
    configure(address)
    warm: Warm

    @contextlib.asynccontextmanager
    async def lifespan(_: Any) -> AsyncIterator[dict[str, Any]]:
        if announce:
            announce()
        warming = asyncio.create_task(warm.up())
        yield {}
        warming.cancel()

    async def ready(request: Any) -> Any:
        return await warm.report(request)

    routes = [Route("/api/ready", ready), Route("/assets/plotly.min.js", _plotly)]
    warm = Warm(st.App(pages, lifespan=lifespan, routes=routes, on_script_error=show_error))
    return Gate(warm, hosts=_hosts(address), token=address.token, port=address.port)


def configure(address: Address) -> None:
    """Set Streamlit's options for this process: the theme from the project's config.toml, the rest from `OPTIONS`."""
    mine = {"server.address": address.host, "server.port": address.port, "browser.serverPort": address.port}
    allowed = {"server.allowedHosts": [name.strip("[]") for name in _hosts(address) or ()]}
    config.get_config_options(force_reparse=True, options_from_flags=_theme() | OPTIONS | mine | allowed)


def listen(host: str, port: int) -> socket.socket:
    """A listening socket on the first free port from `port` on; its connections send small messages at once.

    Raises `ServerError` with a sentence when the host is not this machine's or no port can be had.
    """
    for candidate in range(port, min(port + PORTS_TO_TRY, 65536)) if port else (0,):
        try:
            return _socket(host, candidate)
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise ServerError(_why_not(host, candidate, error)) from error
    raise ServerError(f"Every port from {port} to {candidate} is taken; name a free one with --port.")


def serve(app: ASGIApp, listener: socket.socket) -> int:
    """Answer on `listener` until Ctrl-C; returns the exit status."""
    settings = uvicorn.Config(
        app,
        access_log=False,
        limit_concurrency=CONNECTIONS,
        log_level="warning",
        proxy_headers=False,
        server_header=False,
        timeout_graceful_shutdown=2,
        ws="websockets-sansio",
        ws_max_size=MESSAGE_BYTES,
        ws_ping_timeout=60,  # a long computation that holds the interpreter must not throw its viewers out
        ws_per_message_deflate=False,  # on this machine and on a class's network, compressing costs more than sending
    )
    server = uvicorn.Server(settings)
    with contextlib.suppress(KeyboardInterrupt):  # uvicorn has shut down, and raises the signal again to say why
        server.run(sockets=[listener])
    return 0 if server.started else 1


def show_error(error: Exception) -> bool:
    """What a page shows when it failed: our own sentences as they are, anything else as a reference into the log."""
    from cnnviz.errors import CnnvizError

    if isinstance(error, CnnvizError):
        st.error(_plain(str(error)), icon=":material/error:")
        return True
    reference = secrets.token_hex(3)
    LOG.error("The error above is %s: %s", reference, type(error).__name__)
    st.error(
        "This page met an error of its own making. Everything else goes on; choose something else, or reload. "
        f"The log of the dashboard has the details under {reference}.",
        icon=":material/error:",
    )
    return True


def _plain(text: str) -> str:
    """`text` with its Markdown taken away: a file's name must not become a link or a picture."""
    return re.sub(r"([\\`*_{}\[\]()#+\-.!|<>~$:&])", r"\\\1", text)


def _announce(address: Address, *, browser: bool) -> None:
    print("cnnviz is at " + "\n       or at ".join(address.links), flush=True)
    if address.token:
        print(
            "The link carries a token: whoever has it can use this dashboard. Nothing is encrypted on the way.",
            flush=True,
        )
    print("Ctrl-C stops it.", flush=True)
    if browser and _has_screen():
        threading.Thread(target=webbrowser.open, args=(address.links[0],), daemon=True).start()


def _has_screen() -> bool:
    # without one, webbrowser would start a text browser in this very terminal
    return sys.platform in ("darwin", "win32") or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


def _hosts(address: Address) -> tuple[str, ...] | None:
    if address.token:
        return None
    return tuple(dict.fromkeys((*LOOPBACK_NAMES, _bracketed(address.host.lower()))))


def _names(host: str) -> tuple[str, ...]:
    if host in ("0.0.0.0", "::", ""):
        return tuple(dict.fromkeys((_own_address(), "localhost")))
    return ("localhost",) if host in ("127.0.0.1", "localhost") else (_bracketed(host),)


def _own_address() -> str:
    """This machine's address towards its network; connecting a datagram socket sends nothing."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # a documentation address, never routed
            return str(probe.getsockname()[0])
        except OSError:
            return socket.gethostname()


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _socket(host: str, port: int) -> socket.socket:
    family = socket.AF_INET if host == "localhost" else socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
    # with the protocol named, asyncio sets TCP_NODELAY on every connection; without it, it does not
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        if os.name != "nt":
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(2048)
    except OSError:
        listener.close()
        raise
    return listener


def _why_not(host: str, port: int, error: OSError) -> str:
    if isinstance(error, socket.gaierror) or error.errno == errno.EADDRNOTAVAIL:
        return f"{host} is not an address of this machine; --host takes one of its own, or 0.0.0.0 for all of them."
    if error.errno == errno.EACCES:
        return f"Port {port} is not open to this user; take one above 1023 with --port."
    return f"The dashboard cannot listen on {host}, port {port}: {error.strerror or error}."


def _port(text: str) -> int:
    if text.isdecimal() and int(text) < 65536:
        return int(text)
    raise argparse.ArgumentTypeError(f"{text!r} is not a port; it is a number from 0 to 65535")


def _plotly(request: Any) -> FileResponse:
    """plotly.min.js of the installed package, kept by the browser for a day."""
    script = files("plotly") / "package_data" / "plotly.min.js"
    return FileResponse(str(script), media_type="text/javascript", headers={"Cache-Control": "max-age=86400"})


def _theme() -> dict[str, Any]:
    if not THEME.is_file():
        return {}
    return _flat("theme", tomllib.loads(THEME.read_text(encoding="utf-8")).get("theme", {}))


def _flat(prefix: str, table: dict[str, Any]) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in table.items():
        flat |= _flat(f"{prefix}.{name}", value) if isinstance(value, dict) else {f"{prefix}.{name}": value}
    return flat
