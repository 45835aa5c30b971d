"""The server from outside: real processes, real sockets, and no browser."""

import asyncio
import json
import re
import socket
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.cookies import SimpleCookie
from importlib.resources import files
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from streamlit import config
from websockets.sync.client import connect

from dashboard import gate
from dashboard.server import OPTIONS, THEME, Address, listen
from dashboard.warmup import errors_in
from tests.serving import ROOT, UPGRADE, Served, serving, texts, view

# A page that tells, from inside the server's process, what a test cannot see from outside.
INSIDE = """
import gc, json, os, socket
import streamlit as st
from streamlit import config

def delays():
    for number in os.listdir("/proc/self/fd"):
        try:
            with socket.socket(fileno=os.dup(int(number))) as one:
                if one.family == socket.AF_INET and one.type == socket.SOCK_STREAM:
                    one.getpeername()
                    yield one.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        except OSError:
            pass

if st.query_params.get("raise") == "ours":
    from cnnviz.errors import CnnvizError
    raise CnnvizError("conv9 is *not* ![x](http://elsewhere.invalid/a.png) a layer")
if st.query_params.get("raise"):
    raise ValueError("what only the log may say")
options = {name: config.get_option(name) for name in json.loads(st.query_params.get("options", "[]"))}
st.markdown(json.dumps({"options": options, "delays": list(delays()), "frozen": gc.get_freeze_count()}))
"""
ROUTES = (
    "/",
    "/filters",
    "/api/ready",
    "/assets/plotly.min.js",
    "/app/static/logo-light.svg",
    "/static/js/nothing.js",
    "/media/0123456789abcdef.png",
    "/_stcore/health",
    "/_stcore/host-config",
    "/_stcore/metrics",
    "/_stcore/upload_file/session/file",
    "/component/nothing/index.html",
)


@pytest.fixture(scope="module")
def inside(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A server of the page above, started in a folder that is not the project's."""
    folder = tmp_path_factory.mktemp("inside")
    (folder / "inside.py").write_text(INSIDE)
    with serving("--port", "0", folder=folder, pages=folder / "inside.py", cwd=folder) as served:
        served.wait_until_ready()
        yield served


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A server that listens on every address, and so asks for a token."""
    folder = tmp_path_factory.mktemp("guarded")
    (folder / "page.py").write_text("import streamlit as st\nst.markdown('within')\n")
    with serving("--host", "0.0.0.0", "--port", "0", folder=folder, pages=folder / "page.py") as served:
        yield served


def token_of(served: Served) -> str:
    return urlsplit(served.link).query.removeprefix("token=")


def cookie_of(served: Served) -> str:
    """What a browser sends after it has opened the printed link."""
    cookie = SimpleCookie(served.get(f"/?token={token_of(served)}").headers["set-cookie"])
    return "; ".join(f"{name}={morsel.value}" for name, morsel in cookie.items())


@pytest.mark.parametrize("path", ROUTES)
def test_every_answer_carries_the_security_headers(inside: Served, path: str) -> None:
    answer = inside.get(path)
    assert {name: answer.headers.get(name.lower()) for name in gate.HEADERS} == gate.HEADERS


def test_a_refusal_carries_them_too(inside: Served) -> None:
    answer = inside.get("/", {"Host": "elsewhere.invalid"})
    assert answer.headers["x-frame-options"] == "SAMEORIGIN"
    assert "frame-ancestors 'self'" in answer.headers["content-security-policy"]


@pytest.mark.parametrize("name", ["localhost", "127.0.0.1", "[::1]", "LOCALHOST", "localhost."])
def test_the_names_of_this_machine_are_answered(inside: Served, name: str) -> None:
    host = f"{name}:{urlsplit(inside.url).port}"
    assert inside.get("/", {"Host": host}).status == 200
    assert inside.knock({"Host": host, "Origin": f"http://{host}"}) == 101


@pytest.mark.parametrize("path", ROUTES)
def test_a_name_rebound_to_this_machine_is_refused(inside: Served, path: str) -> None:
    assert inside.get(path, {"Host": f"elsewhere.invalid:{urlsplit(inside.url).port}"}).status == 403


def test_a_rebound_name_is_refused_over_the_websocket(inside: Served) -> None:
    assert inside.knock() == 101
    assert inside.knock({"Host": "elsewhere.invalid", "Origin": "http://elsewhere.invalid"}) == 403


@pytest.mark.parametrize(
    "host", ["", "localhost@elsewhere.invalid", "localhost/../x", "localhost:1:2", "127.0.0.1.invalid"]
)
def test_a_malformed_host_is_refused(inside: Served, host: str) -> None:
    assert inside.get("/", {"Host": host}).status == 403


@pytest.mark.parametrize("origin", ["http://elsewhere.invalid", "null", "http://localhost:1", "file://"])
def test_a_page_from_elsewhere_is_refused_without_asking_an_outside_host(inside: Served, origin: str) -> None:
    assert inside.knock({"Origin": origin}) == 403
    assert inside.get("/_stcore/health", {"Origin": origin}).status == 403
    assert "external IP" not in inside.log()


def test_the_first_page_is_opened_before_the_first_viewer(inside: Served) -> None:
    answer = inside.get("/api/ready")
    body = json.loads(answer.body)
    assert (answer.status, body["ready"], body["problem"]) == (200, True, "")
    assert body["seconds"] > 0


def test_a_first_page_that_fails_is_told(tmp_path: Path) -> None:
    (tmp_path / "page.py").write_text("raise ValueError('broken page')")
    with serving("--port", "0", folder=tmp_path, pages=tmp_path / "page.py") as served:
        with pytest.raises(AssertionError, match="the first page shows an error"):
            served.wait_until_ready()
        assert served.get("/").status == 200
        assert "broken page" in served.log()


def test_the_options_hold_whatever_folder_it_is_started_in(inside: Served) -> None:
    query = "options=" + json.dumps([*OPTIONS, "server.allowedHosts", "theme.light.primaryColor"])
    told = json.loads(texts(view(inside, query))[0])["options"]
    assert {name: told[name] for name in OPTIONS} == OPTIONS
    assert "127.0.0.1" in told["server.allowedHosts"]
    assert told["theme.light.primaryColor"] == tomllib.loads(THEME.read_text())["theme"]["light"]["primaryColor"]


def test_everything_imported_is_out_of_the_garbage_collectors_way(inside: Served) -> None:
    assert json.loads(texts(view(inside))[0])["frozen"] > 10_000


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="needs Linux to look into the server's sockets")
def test_every_connection_sends_small_messages_at_once(inside: Served) -> None:
    delays = json.loads(texts(view(inside))[0])["delays"]
    assert delays and all(delays)


def test_a_listening_socket_hands_on_the_promptness() -> None:
    async def accepted() -> int:
        got: asyncio.Future[int] = asyncio.get_running_loop().create_future()

        async def greet(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            taken = writer.get_extra_info("socket")
            got.set_result(taken.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
            writer.close()

        listener = listen("127.0.0.1", 0)
        async with await asyncio.start_server(greet, sock=listener):
            _, writer = await asyncio.open_connection(*listener.getsockname())
            writer.close()
            return await got

    assert asyncio.run(accepted()) != 0


def test_the_config_file_says_the_same_as_the_server() -> None:
    written = tomllib.loads(THEME.read_text())
    for name, value in OPTIONS.items():
        section, option = name.split(".")
        default = config._config_options_template[name].default_val
        assert written.get(section, {}).get(option, default) == value, name


def test_an_error_of_ours_is_shown_as_it_is(inside: Served) -> None:
    shown = "\n".join(texts(view(inside, "raise=ours")))
    assert re.sub(r"\\(.)", r"\1", shown) == "conv9 is *not* ![x](http://elsewhere.invalid/a.png) a layer"
    assert "![" not in shown


def test_any_other_error_is_a_sentence_on_the_page_and_a_traceback_in_the_log(inside: Served) -> None:
    messages = view(inside, "raise=other")
    assert b"what only the log may say" not in b"".join(message.SerializeToString() for message in messages)
    reference = re.search(r"under ([0-9a-f]{6})\.", "\n".join(texts(messages)))
    assert reference and reference[1] in inside.log()
    assert "ValueError: what only the log may say" in inside.log()


def test_plotly_comes_from_the_installed_package(inside: Served) -> None:
    answer = inside.get("/assets/plotly.min.js")
    assert answer.body == (files("plotly") / "package_data" / "plotly.min.js").read_bytes()
    assert answer.headers["content-type"].startswith("text/javascript")


def test_what_is_not_there_is_not_served(inside: Served) -> None:
    for path in ("/app/static/../server.py", "/app/static/%2e%2e/server.py", "/assets/../server.py", "/media/x"):
        assert inside.get(path).status in (400, 403, 404), path


def test_the_link_of_this_machine_has_no_token(inside: Served) -> None:
    assert inside.link == f"http://localhost:{urlsplit(inside.url).port}"


def test_two_links_have_two_tokens_of_128_bits(guarded: Served, tmp_path: Path) -> None:
    (tmp_path / "page.py").write_text("")
    with serving("--host", "0.0.0.0", "--port", "0", folder=tmp_path, pages=tmp_path / "page.py") as other:
        assert len(token_of(guarded)) == len(token_of(other)) == 22
        assert token_of(guarded) != token_of(other)


@pytest.mark.parametrize("path", ROUTES)
def test_without_the_token_nothing_is_served(guarded: Served, path: str) -> None:
    cookie = {"Cookie": f"{cookie_of(guarded).partition('=')[0]}=guess"}
    assert guarded.get(path).status == 401
    assert guarded.get(f"{path}?token=guess").status == 401
    assert guarded.get(path, cookie).status == 401
    assert b"the whole link" in guarded.get(path).body


@pytest.mark.parametrize("method", ["HEAD", "POST", "PUT", "DELETE", "OPTIONS"])
def test_no_method_goes_past_the_token(guarded: Served, method: str) -> None:
    assert guarded.get("/_stcore/upload_file/session/file", method=method).status == 401


def test_without_the_token_no_websocket_opens(guarded: Served) -> None:
    assert guarded.knock() == 403
    assert guarded.get("/_stcore/stream?token=guess", UPGRADE).status == 403
    assert guarded.knock({"Cookie": cookie_of(guarded)}) == 101


def test_the_link_turns_the_token_into_a_cookie_that_scripts_cannot_read(guarded: Served) -> None:
    answer = guarded.get(f"/filters?layer=conv2&token={token_of(guarded)}&present=1")
    assert (answer.status, answer.headers["location"]) == (303, "/filters?layer=conv2&present=1")
    assert "httponly" in answer.headers["set-cookie"].lower()
    assert "samesite=lax" in answer.headers["set-cookie"].lower()


def test_the_cookie_opens_pages_and_websocket(guarded: Served) -> None:
    cookie = {"Cookie": cookie_of(guarded)}
    assert guarded.get("/", cookie).status == 200
    assert texts(view(guarded, headers=cookie)) == ["within"]


@pytest.mark.parametrize("path", ["//elsewhere.invalid/", "/\\elsewhere.invalid/", "///elsewhere.invalid"])
def test_the_link_leads_nowhere_else(guarded: Served, path: str) -> None:
    location = guarded.get(f"{path}?token={token_of(guarded)}").headers.get("location", "/")
    assert location.startswith("/") and not location.startswith(("//", "/\\"))


def test_a_cookie_of_another_port_does_not_open_this_one(guarded: Served) -> None:
    name, _, token = cookie_of(guarded).partition("=")
    assert name.endswith(str(urlsplit(guarded.url).port))
    assert guarded.get("/", {"Cookie": f"cnnviz-token-1={token}"}).status == 401


def test_a_taken_port_means_the_next_free_one_and_is_said(tmp_path: Path) -> None:
    (tmp_path / "page.py").write_text("")
    with listen("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        with serving("--port", str(port), folder=tmp_path, pages=tmp_path / "page.py") as served:
            chosen = urlsplit(served.link).port
            assert chosen is not None and chosen > port
            assert f"Port {port} is taken; using {chosen} instead." in served.log()
            assert served.get("/").status == 200


def test_ctrl_c_ends_without_a_traceback_even_with_a_viewer(tmp_path: Path) -> None:
    (tmp_path / "page.py").write_text("import streamlit as st\nst.markdown('here')\n")
    with serving("--port", "0", folder=tmp_path, pages=tmp_path / "page.py") as served:
        served.wait_until_ready()
        with connect(served.url.replace("http", "ws", 1) + "/_stcore/stream", subprotocols=["streamlit"]):  # type: ignore[list-item]
            assert served.stop() == 0
    assert "Traceback" not in served.log()
    assert "Error" not in served.log()


def test_ctrl_c_while_it_still_warms_up_ends_cleanly_too(tmp_path: Path) -> None:
    (tmp_path / "page.py").write_text("import time\ntime.sleep(5)\n")
    starting = serving("--port", "0", folder=tmp_path, pages=tmp_path / "page.py")
    with starting as served, ThreadPoolExecutor(1) as early:
        early.submit(served.knock)  # waits to be let in
        assert served.get("/").status == 200
        assert served.get("/api/ready").status == 503
        assert served.stop() == 0
    assert "Traceback" not in served.log()


def test_an_early_viewer_is_let_in_when_the_first_page_has_been_opened(tmp_path: Path) -> None:
    (tmp_path / "page.py").write_text("import time\nimport streamlit as st\ntime.sleep(3)\nst.markdown('here')\n")
    with serving("--port", "0", folder=tmp_path, pages=tmp_path / "page.py") as served:
        assert served.get("/api/ready").status == 503
        assert texts(view(served)) == ["here"]
        assert served.get("/api/ready").status == 200


def test_streamlit_run_serves_the_same_pages(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "streamlit", "run", "dashboard/app.py", "--server.port", str(port)]
    with (tmp_path / "log").open("wb") as log, subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=log) as process:
        served = Served(process, f"http://127.0.0.1:{port}", "", tmp_path / "log")
        try:
            served.wait_until_healthy()
            messages = view(served)
            assert [error for message in messages for error in errors_in(message)] == []
            assert messages[-1].script_finished == messages[-1].FINISHED_SUCCESSFULLY
        finally:
            process.terminate()
    assert "Traceback" not in served.log()


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--host", "192.0.2.7"], "192.0.2.7 is not an address of this machine"),
        (["--host", "no.such.name.invalid"], "no.such.name.invalid is not an address of this machine"),
        (["--port", "many"], "'many' is not a port; it is a number from 0 to 65535"),
        (["--port", "65536"], "'65536' is not a port"),
    ],
)
def test_what_cannot_be_served_is_said_in_a_sentence(arguments: list[str], sentence: str) -> None:
    done = run_dashboard(["-m", "dashboard", "--no-browser", *arguments], ROOT)
    assert done.returncode == 2
    assert sentence in done.stderr
    assert "Traceback" not in done.stderr


def test_it_starts_from_any_folder(tmp_path: Path) -> None:
    done = run_dashboard([str(ROOT / "dashboard"), "--help"], tmp_path)
    assert done.returncode == 0, done.stderr
    assert "--no-browser" in done.stdout


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "localhost", "::1"])
def test_an_address_of_this_machine_alone_needs_no_token(host: str) -> None:
    assert gate.is_loopback(host)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5", "teacher.local", "localhost.elsewhere.invalid"])
def test_an_address_that_others_can_reach_needs_one(host: str) -> None:
    assert not gate.is_loopback(host)


def test_a_link_of_every_address_names_one_that_others_can_reach() -> None:
    link, local = Address("0.0.0.0", 8501, "secret").links
    assert urlsplit(link).hostname not in ("0.0.0.0", "localhost")
    assert local == "http://localhost:8501/?token=secret"


def run_dashboard(arguments: list[str], folder: Path) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([sys.executable, *arguments], cwd=folder, capture_output=True, text=True, timeout=60)
