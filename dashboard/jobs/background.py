"""Work of a few seconds that must not hold up the page: run in a thread, readable while it grows, cancellable.

A piece of work is a generator that yields everything known so far. A page starts it under a key of digests, reads the
latest part whenever it is drawn, and may cancel it. The surprise: work that nobody has read for a while stops by
itself, because a person who closes a page does not say goodbye.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Generator, Hashable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Literal

from cnnviz.errors import Cancelled, CnnvizError

State = Literal["waiting", "running", "done", "cancelled", "abandoned", "failed"]
OVER: frozenset[State] = frozenset({"done", "cancelled", "abandoned", "failed"})
Steps = Callable[[], Generator[Any, None, None]]
AT_ONCE = 0.45  # seconds a page waits for work before it shows what there is

_LOG = logging.getLogger(__name__)


@dataclass
class Work:
    """One piece of work. `part` is the latest thing the generator gave, None before the first."""

    key: Hashable
    state: State = "waiting"
    part: Any = None
    parts: int = 0
    problem: str = ""
    seconds: float = 0.0
    _stop: threading.Event = field(default_factory=threading.Event, repr=False)
    _ended: threading.Event = field(default_factory=threading.Event, repr=False)
    _looked: float = field(default_factory=time.monotonic, repr=False)

    @property
    def over(self) -> bool:
        """Whether nothing more will come."""
        return self.state in OVER

    def cancel(self) -> None:
        """Stop after the step that is being computed."""
        self._stop.set()
        if self.state == "waiting":
            self._end("cancelled")

    def wait(self, seconds: float) -> bool:
        """Give the work this long to end, so that quick work is drawn at once; whether it has ended."""
        return self._ended.wait(seconds)

    def _end(self, state: State, problem: str = "") -> None:
        self.problem, self.state = problem, state
        self._ended.set()

    def _abandoned(self, patience: float) -> bool:
        return time.monotonic() - self._looked > patience


class Background:
    """A bounded register of work: `threads` at a time, the `kept` most recently read remembered.

    Work not read for `patience` seconds is abandoned. The same key is the same work for every viewer.
    """

    def __init__(self, *, threads: int = 3, kept: int = 24, patience: float = 20.0) -> None:
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="background")
        self._works: OrderedDict[Hashable, Work] = OrderedDict()
        self._lock = threading.Lock()
        self._kept = kept
        self._patience = patience

    def start(self, key: Hashable, steps: Steps) -> Work:
        """The work under `key`: what is there already, or, when there is none or it did not finish, a new run."""
        with self._lock:
            work = self._works.get(key)
            if work is None or work.state in {"cancelled", "abandoned", "failed"}:
                work = self._works[key] = Work(key)
                self._pool.submit(self._run, work, steps)
            self._touch(work)
            return work

    def look(self, key: Hashable) -> Work | None:
        """The work under `key` as it is now, or None when it was never started (or is forgotten)."""
        with self._lock:
            work = self._works.get(key)
            if work is not None:
                self._touch(work)
            return work

    def resume(self, key: Hashable, steps: Steps) -> Work:
        """As `start`, but what a person has stopped stays stopped: for pages, which ask again at every run."""
        known = self.look(key)
        return known if known is not None and known.state == "cancelled" else self.start(key, steps)

    def stopping(self, key: Hashable) -> bool:
        """Whether the work under `key` was asked to stop or left alone: for steps that take long; is no reading."""
        with self._lock:
            work = self._works.get(key)
            return work is None or work._stop.is_set() or work._abandoned(self._patience)

    def _touch(self, work: Work) -> None:
        work._looked = time.monotonic()
        self._works.move_to_end(work.key)
        while len(self._works) > self._kept:
            oldest = next(iter(self._works.values()))
            oldest.cancel()
            del self._works[oldest.key]

    def _run(self, work: Work, steps: Steps) -> None:
        if work.over:
            return
        work.state, start = "running", time.monotonic()
        try:
            state, problem = self._follow(work, steps()), ""
        except Cancelled:
            state, problem = "cancelled", ""
        except CnnvizError as error:
            state, problem = "failed", str(error)
        except Exception as error:
            _LOG.exception("background work failed")
            state, problem = "failed", f"{type(error).__name__}: {error}"
        work.seconds = time.monotonic() - start
        work._end(state, problem)

    def _follow(self, work: Work, steps: Generator[Any, None, None]) -> State:
        try:
            for part in steps:
                work.part = part
                work.parts += 1
                if work._stop.is_set():
                    return "cancelled"
                if work._abandoned(self._patience):
                    return "abandoned"
        finally:
            steps.close()
        return "done"


BACKGROUND = Background()
"""The register that every page shares. It is no Streamlit cache: any client can clear those."""
