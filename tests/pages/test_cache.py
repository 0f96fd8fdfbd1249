"""The cache that sessions share: bounded by bytes, computed once, given back when it is idle."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from threading import Barrier

import numpy as np
import pandas as pd
import pytest

from pages.parts import cache
from pages.parts.cache import bytes_of, forget, shared
from staff_engine.errors import RunError
from staff_engine.selection.pool import Pool


@pytest.fixture(autouse=True)
def empty():
    forget()
    yield
    forget()


def test_a_value_is_computed_once_for_the_same_arguments_whoever_asks():
    asked = []
    together = Barrier(8)

    @shared()
    def squared(number, _unhashable):
        asked.append(number)
        return np.arange(number) ** 2

    def ask(each):
        together.wait(30)
        return squared(1 + each % 2, [])

    with ThreadPoolExecutor(8) as threads:
        made = list(threads.map(ask, range(8)))
    assert sorted(asked) == [1, 2]
    assert made[0] is made[2] and made[0] is not made[1]


def test_what_was_not_used_for_the_longest_time_goes_when_the_bytes_are_too_many(monkeypatch):
    monkeypatch.setenv(cache.VARIABLE, "1")
    asked = []

    @shared()
    def made(name):
        asked.append(name)
        return np.zeros(50_000)  # 400 kB

    for name in ("a", "b", "a", "c", "a", "b"):
        made(name)
    assert asked == ["a", "b", "c", "b"], "when c came, b had to go"


def test_a_value_larger_than_the_bound_is_returned_and_replaced_by_the_next(monkeypatch):
    monkeypatch.setenv(cache.VARIABLE, "1")
    large = shared()(lambda name: np.zeros(200_000))
    assert large("a") is large("a")
    large("b")
    assert len(cache._entries) == 1


def test_values_that_grow_are_measured_again(monkeypatch):
    monkeypatch.setenv(cache.VARIABLE, "1")
    grows = shared()(lambda name: {})
    first = grows("a")
    grows("b")
    first["scores"] = np.zeros(200_000)
    cache.measure_again()
    assert grows("a") is not first


def test_an_error_is_not_cached_and_the_next_one_tries_again():
    asked = []

    @shared()
    def fails():
        asked.append(1)
        if len(asked) == 1:
            raise RunError("not yet")
        return "made"

    with pytest.raises(RunError, match="not yet"):
        fails()
    assert fails() == fails() == "made"
    assert len(asked) == 2


def test_only_values_that_nobody_used_for_a_while_are_forgotten(monkeypatch):
    clock = [0.0]
    monkeypatch.setattr(cache.time, "monotonic", lambda: clock[0])
    made = shared()(lambda name: [name])
    old, new = made("old"), made("new")
    clock[0] = 50.0
    made("new")
    clock[0] = 61.0
    assert forget(60) == 1
    assert made("new") is new and made("old") is not old


def test_bytes_are_those_of_the_arrays_each_counted_once():
    @dataclass
    class Foreign:
        values: np.ndarray

    array = np.zeros(1000)
    assert bytes_of(array) == bytes_of(array[:10]) == bytes_of((array, {"a": array})) == 8000
    assert bytes_of(pd.DataFrame({"a": array}, copy=True)) >= 8000
    assert bytes_of(Pool(array)) == 8000
    assert bytes_of(Foreign(array)) == bytes_of("text") == bytes_of(None) == 0
