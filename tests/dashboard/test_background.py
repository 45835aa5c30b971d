"""Work in a thread: read while it grows, cancelled, forgotten, and never lost silently."""

import threading
import time
from collections.abc import Callable

import pytest

from cnnviz.errors import CnnvizError
from dashboard.jobs.background import Background


def wait_until(true: Callable[[], bool], seconds: float = 5.0) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.005)


def test_the_latest_part_can_be_read_while_the_work_goes_on():
    register, gate = Background(), threading.Event()

    def steps():
        yield "coarse"
        gate.wait(5)
        yield "fine"

    work = register.start("k", steps)
    wait_until(lambda: work.part == "coarse")
    assert work.state == "running"
    gate.set()
    wait_until(lambda: work.over)
    assert (work.part, work.parts, work.state) == ("fine", 2, "done")


def test_the_same_key_is_the_same_work_and_runs_once():
    register, runs = Background(), []

    def steps():
        runs.append(1)
        yield 1

    first = register.start("k", steps)
    wait_until(lambda: first.over)
    assert register.start("k", steps) is first
    assert register.look("k") is first
    assert runs == [1]


def test_cancelled_work_stops_after_its_step_and_keeps_its_last_part():
    register, gate = Background(), threading.Event()

    def steps():
        for n in range(1000):
            yield n
            gate.wait(5)

    work = register.start("k", steps)
    wait_until(lambda: work.part == 0)
    work.cancel()
    gate.set()
    wait_until(lambda: work.over)
    assert work.state == "cancelled"
    assert work.part in (0, 1)


def test_work_cancelled_while_it_waits_never_starts():
    register, gate, started = Background(threads=1), threading.Event(), []

    def slow():
        gate.wait(5)
        yield 0

    def waiting():
        started.append(1)
        yield 1

    first = register.start("first", slow)
    second = register.start("second", waiting)
    second.cancel()
    gate.set()
    wait_until(lambda: first.over)
    third = register.start("third", slow)
    wait_until(lambda: third.over)
    assert second.state == "cancelled"
    assert not started


def test_cancelled_work_can_be_started_again():
    register, gate = Background(), threading.Event()

    def steps():
        yield 1
        gate.wait(5)
        yield 2

    first = register.start("k", steps)
    wait_until(lambda: first.part == 1)
    first.cancel()
    gate.set()
    wait_until(lambda: first.over)
    again = register.start("k", steps)
    wait_until(lambda: again.over)
    assert (first.state, again.state, again.part) == ("cancelled", "done", 2)


def test_work_that_nobody_reads_stops_by_itself():
    register = Background(patience=0.05)

    def steps():
        for n in range(100_000):
            time.sleep(0.005)
            yield n

    work = register.start("k", steps)
    wait_until(lambda: work.over)
    assert work.state == "abandoned"
    assert register.resume("k", steps) is not work


def test_what_a_person_stopped_stays_stopped_until_it_is_started_again():
    register, gate = Background(), threading.Event()

    def steps():
        yield 1
        gate.wait(5)
        yield 2

    work = register.resume("k", steps)
    wait_until(lambda: work.part == 1)
    work.cancel()
    gate.set()
    wait_until(lambda: work.over)
    assert register.resume("k", steps) is work
    assert register.start("k", steps) is not work


@pytest.mark.parametrize("problem", [CnnvizError("no such layer"), ValueError("broken")])
def test_a_failure_is_kept_as_a_sentence(problem):
    register = Background()

    def steps():
        yield 1
        raise problem

    work = register.start("k", steps)
    wait_until(lambda: work.over)
    assert work.state == "failed"
    assert str(problem) in work.problem
    assert work.part == 1


def test_the_register_forgets_what_was_read_longest_ago():
    register = Background(kept=2)

    def steps():
        yield 1

    for key in "abc":
        work = register.start(key, steps)
        wait_until(lambda work=work: work.over)
    assert register.look("a") is None
    assert register.look("b") is not None
    assert register.look("c") is not None
