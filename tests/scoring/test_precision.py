"""Which number format a run takes: decided by measuring, once."""

import json
import logging

import numpy as np
import pytest

from staff_engine.models import devices, loading
from staff_engine.scoring import precision
from staff_engine.scoring.precision import (
    FEWEST,
    MOST_TOKENS,
    ROWS,
    Precision,
    choose_precision,
    read_precision,
    settle,
)
from staff_engine.system.files import read_model
from tests.helpers.tiny import make_plan, make_tokens, save_model


@pytest.fixture(scope="module")
def name(tmp_path_factory):
    return save_model(tmp_path_factory.mktemp("model"))


@pytest.fixture(autouse=True)
def own_home(tmp_path, monkeypatch):
    monkeypatch.setenv("STAFF_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


TOKENS = make_tokens(tuple(range(4, 64)))


def clock(*, single, half):
    """A clock that each batch moves on by what it takes in the format whose turn it is."""
    moments = [0.0]

    def tick():
        calls = len(moments)
        step = 0.0 if calls % 2 else (single if calls % 4 == 2 else half)
        moments.append(moments[-1] + step)
        return moments[-1]

    return tick


@pytest.fixture
def bfloat16(monkeypatch):
    monkeypatch.setattr(devices, "has_bfloat16", lambda device: True)


def test_a_device_without_bfloat16_takes_float32_and_measures_nothing(name, monkeypatch):
    monkeypatch.setattr(devices, "has_bfloat16", lambda device: False)
    monkeypatch.setattr(loading, "load_model", lambda *a, **k: pytest.fail("a model was loaded"))
    found = choose_precision(make_plan(), name, TOKENS)
    assert (found.dtype, found.samples) == ("float32", 0)
    assert found.sentence == "The models use float32: cpu does not compute in bfloat16 natively."


def test_too_few_samples_to_compare_ranks_take_float32(name, bfloat16):
    found = choose_precision(make_plan(), name, make_tokens((9,) * (FEWEST - 1)))
    assert found.dtype == "float32"
    assert "49 samples are too few" in found.sentence


@pytest.mark.parametrize(
    ("half", "alike", "dtype"), [(1, 0.9, "bfloat16"), (1, 0.9999999, "float32"), (2, 0.9, "float32")]
)
def test_bfloat16_is_taken_only_where_it_is_faster_and_ranks_alike(
    name, bfloat16, monkeypatch, half, alike, dtype
):
    monkeypatch.setattr(precision, "ALIKE", alike)
    found = choose_precision(make_plan(), name, TOKENS, clock=clock(single=2, half=half))
    assert found.dtype == dtype
    assert (found.samples, found.speedup) == (60, 2 / half)
    assert 0.9 < found.spearman < 0.9999999
    assert f"{2 / half:.2f} times as fast" in found.sentence and f"{found.spearman:.4f}" in found.sentence


def test_efforts_that_are_no_numbers_take_float32(name, bfloat16, monkeypatch):
    monkeypatch.setattr(precision, "_spearman", lambda one, other: float("nan"))
    found = choose_precision(make_plan(), name, TOKENS, clock=clock(single=2, half=1))
    assert (found.dtype, found.spearman) == ("float32", None)


def test_it_is_decided_once_in_a_run_said_and_kept(name, bfloat16, monkeypatch, tmp_path, caplog):
    caplog.set_level(logging.INFO)
    assert read_precision(tmp_path) is None
    settled = settle(make_plan(), tmp_path, name, TOKENS)
    known = read_precision(tmp_path)
    assert settled.dtype == known.dtype
    assert known.sentence in caplog.text
    assert json.loads((tmp_path / "dtype.json").read_text())["samples"] == 60
    monkeypatch.setattr(loading, "load_model", lambda *a, **k: pytest.fail("it was measured again"))
    assert settle(make_plan(), tmp_path, name, TOKENS).dtype == known.dtype


def test_another_run_on_the_same_samples_takes_the_same_format_without_a_measurement(
    name, bfloat16, monkeypatch, own_home
):
    monkeypatch.setattr(precision, "ALIKE", 0.9)
    found = choose_precision(make_plan(), name, TOKENS, clock=clock(single=2, half=1))
    [kept] = (own_home / "number-formats").iterdir()
    slow = clock(single=1, half=1)
    assert choose_precision(make_plan(seed=5), name, TOKENS, clock=slow) == found
    for plan, tokens in (
        (make_plan(lora_rank=2), TOKENS),
        (make_plan(), make_tokens(tuple(range(5, 65)))),
    ):
        assert choose_precision(plan, name, tokens, clock=clock(single=1, half=1)).dtype == "float32"
    kept.write_text("{")
    assert choose_precision(make_plan(), name, TOKENS, clock=clock(single=1, half=1)).dtype == "float32"
    assert read_model(kept, Precision).dtype == "float32"


def test_other_load_during_a_measurement_does_not_count(name, bfloat16, monkeypatch):
    monkeypatch.setattr(precision, "ALIKE", 0.9)
    steady, looks = clock(single=2, half=2), []

    def disturbed():
        looks.append(steady() + sum(9.0 for n in range(1, len(looks) + 1) if n % 12 == 1))
        return looks[-1]

    found = choose_precision(make_plan(), name, TOKENS, clock=disturbed)
    assert (found.dtype, found.speedup) == ("float32", 1.0)


def test_a_format_that_is_asked_for_is_taken_as_it_is(tmp_path):
    assert settle(make_plan(dtype="float64"), tmp_path, "nowhere", TOKENS).dtype == "float64"
    assert read_precision(tmp_path) is None


def test_a_run_of_an_older_version_goes_on_as_it_began(tmp_path):
    (tmp_path / "dtype.json").write_text('"bfloat16"')
    assert settle(make_plan(), tmp_path, "nowhere", TOKENS).dtype == "bfloat16"


def test_the_samples_are_spread_over_the_lengths_as_far_as_their_tokens_allow():
    few = precision._short(make_tokens(tuple(range(4, 84))))
    assert len(few) == ROWS and {0, 79} <= set(few.tolist())
    lengths = np.arange(20, 520)
    tokens = make_tokens(tuple(lengths))
    many = precision._short(tokens)
    assert len(many) == ROWS and lengths[many].sum() <= MOST_TOKENS < lengths[:: 500 // ROWS].sum()
    long = precision._short(make_tokens((300,) * 70))
    assert len(long) == ROWS


def test_only_the_first_rows_decide_as_in_a_forecast(monkeypatch):
    monkeypatch.setattr(precision, "FIRST_ROWS", 55)
    assert precision._short(TOKENS).max() == 54


def test_what_is_decided_reads_back_as_it_was_written():
    found = precision._decide(64, 2.0, 0.9995)
    assert Precision.model_validate_json(found.model_dump_json()) == found
