"""What is kept between clicks is what was asked for, and not more of it than fits."""

import threading
from dataclasses import dataclass

import numpy as np
import pytest
import torch

from dashboard.cache import Store, digest


def test_one_changed_pixel_of_a_large_picture_is_another_key() -> None:
    image = torch.zeros(1, 3, 512, 512)
    before = digest("scores", image)
    image[0, 2, 100, 7] = 1 / 255
    assert digest("scores", image) != before


def test_neighbouring_parts_do_not_run_together() -> None:
    assert digest("ab", "c") != digest("a", "bc")
    assert digest(np.zeros(4)) != digest(np.zeros((2, 2))) != digest(np.zeros((2, 2), np.float32))


def test_a_result_is_computed_once_and_cannot_be_changed_by_a_viewer() -> None:
    store, calls = Store(1 << 20), []
    for _ in range(3):
        result = store.get("key", lambda: calls.append(1) or np.ones(3))
    assert len(calls) == 1
    with pytest.raises(ValueError, match="read-only"):
        result[0] = 2


def test_what_was_not_used_for_longest_goes_first_when_it_gets_too_much() -> None:
    store, calls = Store(3 * 8000 + 4 * 1024), []

    def ask(key: str) -> None:
        store.get(key, lambda: calls.append(key) or np.zeros(1000))

    for key in "abcabd" + "abd" + "c":
        ask(key)
    assert calls == ["a", "b", "c", "d", "c"]


def test_arrays_inside_a_result_of_ones_own_count_too() -> None:
    @dataclass(frozen=True)
    class Answer:
        values: np.ndarray
        image: torch.Tensor

    store, calls = Store(100_000), []
    for key in "aba":
        store.get(key, lambda: calls.append(1) or [Answer(np.zeros(10_000), torch.zeros(1000))])
    assert len(calls) == 3


def test_viewers_who_ask_at_once_share_one_computation() -> None:
    store, calls, gate = Store(1 << 20), [], threading.Event()

    def slow() -> int:
        calls.append(1)
        gate.wait(5)
        return 7

    answers: list[int] = []
    threads = [threading.Thread(target=lambda: answers.append(store.get("key", slow))) for _ in range(4)]
    for thread in threads:
        thread.start()
    gate.set()
    for thread in threads:
        thread.join()
    assert answers == [7] * 4 and len(calls) == 1


def test_a_failed_computation_is_not_kept() -> None:
    store = Store(1 << 20)
    with pytest.raises(ZeroDivisionError):
        store.get("key", lambda: 1 // 0)
    assert store.get("key", lambda: 5) == 5
