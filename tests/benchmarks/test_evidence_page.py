"""What the page of evidence says of made-up cells."""

import json
import re

import numpy as np
import pandas as pd
import pytest
import typer
from pydantic import ValidationError

from benchmarks.evidence import page as evidence_page
from benchmarks.evidence import results
from benchmarks.evidence.__main__ import _part, _varied
from benchmarks.evidence.grid import GRID, Grid, read_grid
from benchmarks.evidence.table import known_rows
from staff_engine.data.locating import check_source
from staff_engine.plan import Plan
from staff_engine.selection.methods import method_named

MACHINE = {"command": "c", "date": "2026-11-27", "machine": "m", "python": "3.11"}


def made(tasks=("a", "b"), seeds=3, ours=-0.1):
    """A table in which ours differs from random by a constant, Paper is worse, the full data better by 1."""
    shift = {"random": 0.0, "staff-studio": ours, "staff-paper": 0.2, "full": -1.0, "nothing": 2.0}
    rng = np.random.default_rng(0)
    rows = []
    for task in tasks:
        for faulty in (False, True):
            for seed in range(seeds):
                noise = rng.normal(0, 0.01, 50) + rng.normal(0, 0.01)
                for arm, change in shift.items():
                    losses = 3.0 + change + noise * (arm == "random")
                    rows.append(
                        {
                            "data": f"{task}{', faulty' * faulty}", "task": task, "faulty": faulty,
                            "arm": arm, "seed": seed, "budget": "epochs",
                            "loss": losses.mean(), "losses": losses,
                            "token_loss": losses.mean() + 0.1, "swapped": 0.2 if faulty else np.nan,
                            "duplicate": 0.1 if faulty else np.nan,
                        }
                    )  # fmt: skip
    return pd.DataFrame(rows)


def text(table):
    grid = read_grid().model_dump(mode="json")
    return evidence_page.page({**MACHINE, "grid": grid}, table)


def test_a_tenth_of_the_gap_is_said_to_be_closed():
    gaps = results.gaps(made())
    assert [gap.closed for gap in gaps] == pytest.approx([0.1] * 4, abs=0.02)
    assert "Studio closes +10% of the gap" in text(made()) and "experiment succeeds" in text(made())


def test_worse_than_random_fails():
    assert "Studio closes -10% of the gap" in text(made(ours=0.1)) and "experiment fails" in text(
        made(ours=0.1)
    )


def with_oracle(shift, tasks=("a", "b")):
    """The table with an oracle that differs from random by a constant on the data with faults."""
    table = made(tasks)
    rows = table[(table["arm"] == "random") & table["faulty"]]
    rows = rows.assign(arm="oracle", loss=rows["loss"] + shift, losses=rows["losses"] + shift)
    return pd.concat([table, rows], ignore_index=True)


def test_the_oracle_is_random_without_faults():
    found = {gap.data: gap.closed for gap in results.gaps(with_oracle(-0.2), "oracle")}
    assert found == pytest.approx({"a": 0.0, "a, faulty": 0.2, "b": 0.0, "b, faulty": 0.2}, abs=0.01)
    shown = text(with_oracle(-0.2))
    assert "The oracle closes +10% (" in shown and "not have been enough" not in shown
    assert "oracle closes" not in text(made())


def test_an_endpoint_that_the_oracle_misses_is_said_to_be_out_of_reach():
    table = with_oracle(-0.2)
    found = (table["task"] == "a") & (table["arm"] == "oracle")
    table.loc[found, "loss"] += 0.2
    assert "The oracle closes +5% (-59% to +69%)" in text(table)
    assert "wrong and repeated rows would not have been enough on these data sets" in text(table)


def test_random_samples_that_take_as_much_time_are_compared_with_studio():
    table = made().assign(rows=10)
    assert results.TIME in read_grid().methods
    assert evidence_page.at_equal_time(table) == ""
    cells = table[(table["arm"] == "random") & (table["task"] == "a")]
    cells = cells.assign(arm=results.TIME, rows=35, losses=cells["losses"] - 0.5)
    table = pd.concat([table, cells], ignore_index=True)
    said = evidence_page.at_equal_time(table)
    assert re.match(r"Studio minus random at equal total time: \+0\.(39|40). nats", said)
    assert said.endswith(" on a. In that time, the target trains on 3.5 times as many random samples.")
    assert said in text(table)


def test_one_task_has_no_interval():
    assert results.primary(made(tasks=("a",))) is None
    assert "Only one task has cells, so there is no interval yet." in text(made(tasks=("a",)))


def test_an_experiment_with_one_task_compares_with_the_full_data_and_has_no_endpoints():
    grid = read_grid(GRID.with_name("light.toml"))
    shown = evidence_page.page({**MACHINE, "grid": grid.model_dump(mode="json")}, made(tasks=("a",)))
    assert "after fine-tuning on 80% of the data" in shown
    assert "Studio minus the full data: +0.900 nats (+0.900 to +0.900)." in shown
    assert "endpoint" not in shown


def test_an_experiment_at_equal_steps_says_so_and_has_no_endpoints():
    grid = read_grid(GRID.with_name("steps.toml"))
    table = made().assign(budget=lambda table: np.where(table["arm"] == "full", "epochs", "steps"))
    shown = evidence_page.page({**MACHINE, "grid": grid.model_dump(mode="json")}, table)
    assert shown.startswith("# Evidence: equal steps\n")
    assert "on 10% of the data for as many steps as on all of it" in shown
    assert "STAFF (Studio): -0.099 nats" in shown and "endpoint" not in shown


def test_an_experiment_has_one_budget():
    changed = read_grid().model_dump(mode="json")
    changed["evaluation"]["budget"] = "both"
    with pytest.raises(ValidationError, match="budget 'both'; allowed: epochs, steps"):
        Grid(**changed)


def test_the_page_says_which_arms_lack_seeds():
    grid = read_grid(GRID.with_name("light.toml"))
    table = made(tasks=("kazakh",))
    content = {**MACHINE, "grid": grid.model_dump(mode="json")}
    assert "What is missing" not in evidence_page.page(content, table[table["faulty"]])
    shown = evidence_page.page(content, table[table["faulty"] & (table["seed"] < 2)].query("arm != 'random'"))
    missing = shown.partition("## What is missing")[2]
    assert "- kazakh, faulty, 0 seeds: Random\n" in missing
    assert "- kazakh, faulty, 2 seeds: full data; STAFF (Studio)\n" in missing


def test_secondary_endpoints_are_paired_and_corrected():
    found = {each.words: each for each in results.secondary(made())}
    faulty = found["Studio and random, data with faults"]
    assert faulty.estimate.value == pytest.approx(-0.1, abs=0.01)
    assert faulty.estimate.low < -0.09 < faulty.estimate.high + 0.02
    assert faulty.corrected >= faulty.estimate.p
    paper = next(each for words, each in found.items() if "Paper" in words)
    assert paper.estimate.value == pytest.approx(-0.3)


def test_a_comparison_names_the_tasks_if_it_lacks_some():
    table = made()
    rows = table[(table["arm"] == "staff-paper") & (table["task"] == "b")].assign(arm="kmeans")
    found = [each.words for each in results.secondary(pd.concat([table, rows], ignore_index=True))]
    assert "Studio and STAFF (Paper), all data" in found
    assert "Studio and K-means, all data of b" in found


def test_one_seed_gives_means_without_intervals():
    assert results.secondary(made(seeds=1)) == []
    assert "What could be detected" not in text(made(seeds=1))


def test_the_scores_of_each_run_are_described():
    found = {
        "a": {
            "samples": 90, "verified": 40, "lengths": {"effort": -0.5, "loss": 0.25},
            "agreement": {"effort": {"plain": [0.9, 0.8, 0.95], "held": [0.1, -0.1, 0.3]}},
            "ratios": {"explained": 0.9, "paper": [7.1, 0.7], "calibrated": [1.1, 0.95]},
        },
        "a: tuned": {
            "samples": 90, "verified": 40, "lengths": {"effort": -0.4},
            "agreement": {"effort": {"plain": [0.9, 0.8, 0.95], "held": [np.nan] * 3}},
            "ratios": {"explained": 0.5, "paper": [4.2, 0.8], "calibrated": [1.0, 1.0]},
        },
    }  # fmt: skip
    grid = read_grid().model_dump(mode="json")
    said = evidence_page.page({**MACHINE, "grid": grid, "scores": found}, made())
    assert "| a | -0.50 | +0.25 | +0.90 (+0.80 to +0.95) | +0.10 (-0.10 to +0.30) |" in said
    assert "| a: tuned | -0.40 | – | +0.90 (+0.80 to +0.95) | – (– to –) |" in said
    assert "| a | 40 | 7.10 | 0.70 | 90% | 1.10 | 0.95 |" in said


def test_the_oracle_and_variants_of_paper_are_not_endpoints():
    table = made()
    for arm in ("oracle", "Paper, 1 epoch"):
        table = pd.concat([table, table[table["arm"] == "staff-paper"].assign(arm=arm)], ignore_index=True)
    assert [each.words for each in results.secondary(table)] == [
        each.words for each in results.secondary(made())
    ]
    assert "| Paper, 1 epoch | 3 |" in text(table) and "| Oracle | 3 |" in text(table)


def test_a_plan_of_a_variant_differs_from_paper_as_the_grid_says():
    grid = read_grid()
    names = {each.name for each in grid.data}
    assert grid.cells > len(names) * len(grid.methods) * grid.seeds
    for variant in grid.variants:
        assert set(variant.data) <= names
        plan = Plan.make(dataset="builtin:chat", small="builtin:llama-nano", target="builtin:llama-mini")
        changed = _varied(plan, variant.plan)
        differing = {name for name, value in changed if getattr(plan, name) != value}
        assert differing == set(variant.plan)


def test_every_grid_can_be_read_and_names_known_methods():
    for path in GRID.parent.glob("*.toml"):
        grid = read_grid(path)
        assert [method_named(name).name for name in grid.methods][:2] == ["random", "staff-studio"]
        Plan.make(dataset="builtin:chat", small="a", target="b", pruning_rate=grid.pruning_rate, **grid.plan)


def test_a_part_of_the_grid_has_the_chosen_data_and_arms():
    part = _part(read_grid(), ["chat"], ["oracle", "Paper, target tuned first"])
    assert [each.name for each in part.data] == ["chat"]
    assert part.methods == ("random", "oracle")
    assert part.methods_on(part.data[0]) == ("random",), "chat has no faults"
    assert [each.arm for each in part.variants] == ["Paper, target tuned first"]
    assert _part(read_grid(), None, None) == read_grid()
    with pytest.raises(typer.BadParameter, match="'chats'; allowed: kazakh,"):
        _part(read_grid(), ["chats"], None)


def test_every_data_set_and_method_of_the_grid_exists():
    grid = read_grid()
    for data in grid.data:
        check_source(data.source)
        assert data.faulty == ("swapped=0.25" in data.source)
    assert [method_named(name).name for name in grid.methods] == list(grid.methods)
    assert {"random", "staff-studio", "staff-paper"} <= set(grid.methods)


def test_the_table_has_the_name_of_the_target_and_no_path_of_this_machine(monkeypatch):
    monkeypatch.setenv("SMOLLM2", "/somewhere/model.gguf")
    grid = read_grid(GRID.with_name("smollm2.toml"))
    assert grid.table.exists()
    (data,) = grid.data
    assert {cell.made_with["target"] for cell in known_rows(grid.table, data)} == {"/somewhere/model.gguf"}
    assert {json.loads(each)["target"] for each in pd.read_parquet(grid.table)["made_with"]} == {"$SMOLLM2"}
