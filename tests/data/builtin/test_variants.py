"""Variants of built-in tasks: what is done to the rows, and what is not."""

from __future__ import annotations

from collections import Counter

import pytest

from staff_engine.data.builtin.tasks import check_task, task_rows
from staff_engine.data.builtin.variants import COPIES, Variant, parse_variant, varied
from staff_engine.errors import DatasetError

ROWS = [
    {"prompt": f"prompt {index}", "response": f"response {index % 90}", "kind": f"kind {index % 10}"}
    for index in range(200)
]


def _made(variant: Variant, rows: list[dict[str, str]] = ROWS) -> list[dict[str, str]]:
    return list(varied(rows, variant, group="kind"))


def test_swapped_rows_get_the_response_of_another_row() -> None:
    made = _made(Variant(swapped=0.25))
    before = {row["prompt"]: row["response"] for row in ROWS}
    differ = [row["prompt"] for row in made if row["response"] != before[row["prompt"]]]
    assert len(made) == 200
    assert len(differ) == 50
    assert differ == [row["prompt"] for row in made if row["_kind"] == "swapped"]


def test_repeated_rows_occur_eight_times() -> None:
    made = _made(Variant(duplicates=0.1))
    counts = Counter(row["prompt"] for row in made)
    assert sorted(counts.values()) == [1] * 180 + [COPIES] * 20
    assert Counter(row["_kind"] for row in made) == {"clean": 200, "duplicate": 20 * 7}


def test_rare_groups_keep_a_tenth_of_their_rows() -> None:
    made = _made(Variant(rare=0.3))
    counts = Counter(row["kind"] for row in made)
    assert sorted(counts.values()) == [2] * 3 + [20] * 7
    assert Counter(row["_kind"] for row in made) == {"clean": 140, "rare": 6}


def test_copies_of_a_swapped_row_have_its_response() -> None:
    made = _made(Variant(swapped=0.5, duplicates=0.5))
    responses: dict[str, set[str]] = {}
    for row in made:
        responses.setdefault(row["prompt"], set()).add(row["response"])
    assert all(len(each) == 1 for each in responses.values())


def test_a_seed_decides_the_variant_and_the_order_of_the_rows_does_not() -> None:
    variant = Variant(swapped=0.25, rare=0.2, seed=3)
    assert _made(variant) == _made(variant)
    assert _made(variant) == _made(variant, ROWS[::-1])
    assert _made(variant) != _made(Variant(swapped=0.25, rare=0.2, seed=4))


def test_rows_with_equal_responses_are_not_swapped() -> None:
    same = [{**row, "response": "yes"} for row in ROWS]
    assert {row["_kind"] for row in _made(Variant(swapped=0.5), same)} == {"clean"}


def test_only_the_training_split_has_faults() -> None:
    assert all("_kind" in row for row in task_rows("builtin:chat?swapped=0.25"))
    assert list(task_rows("builtin:chat?swapped=0.25", "held_out")) == list(
        task_rows("builtin:chat", "held_out")
    )


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("builtin:chat?swaped=0.2", "unknown option 'swaped' .* allowed: rare, swapped, duplicates, seed"),
        ("builtin:chat?swapped=1", "swapped is '1' .* less than 1"),
        ("builtin:chat?swapped=nan", "swapped is 'nan'"),
        ("builtin:chat?duplicates=", "duplicates is ''"),
        ("builtin:chat?seed=-1", "seed is '-1' .* a whole number from 0"),
        ("builtin:chat?swapped=0.1&swapped=0.2", "option 'swapped' occurs twice"),
        ("builtin:chat?", None),
        ("builtin:docstrings?rare=0.5", "has no groups"),
        ("builtin:nothing?rare=0.5", "unknown built-in data set"),
    ],
)  # fmt: skip
def test_wrong_options_are_named(source: str, message: str | None) -> None:
    if message is None:
        check_task(source)
        return
    with pytest.raises(DatasetError, match=message):
        check_task(source)


def test_a_name_without_options_is_the_task_itself() -> None:
    assert not parse_variant("builtin:chat", "", grouped=True).changes
    assert "_kind" not in next(task_rows("builtin:chat"))
