"""What every test may use: the served dashboard, and one thread for torch, because the tests run side by side.

`server` is the real dashboard in a process of its own, started once (for each worker) when a test first asks for it.
"""

import os
from collections.abc import Iterator

import pytest

from tests.serving import Served, serving


def pytest_configure(config: pytest.Config) -> None:
    """Two workers with two torch threads each would wait for one another."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """The dashboard as a person starts it, warmed up: `server.url`, `server.get(path)`, `server.log()`."""
    with serving("--port", "0", folder=tmp_path_factory.mktemp("server")) as served:
        served.wait_until_ready()
        yield served
