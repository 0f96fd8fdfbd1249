"""The held-out samples of an evaluation: their source, their choice, and the check for overlap."""

import json

import pytest

from staff_engine.errors import DatasetError, PlanError
from staff_engine.evaluation import held_out
from staff_engine.evaluation.held_out import (
    choose_held_out,
    held_out_source,
    import_held_out,
    metric_of,
    shared_samples,
)
from staff_engine.evaluation_plan import EvaluationPlan
from staff_engine.pipelines import coreset as pipeline
from staff_engine.plan import Plan
from staff_engine.runs.results import open_results
from tests.helpers.tiny_run import (
    Watch,
)
from tests.helpers.tiny_run import make_run as make_source


def evaluation(**changes):
    settings = {"source": "a", "methods": ("random",), "pruning_rates": (0.9,), "held_out_samples": 20}
    return EvaluationPlan.make(**{**settings, "answers": 6, **changes})


def write_rows(path, completions):
    rows = [{"prompt": f"xyz {i}", "completion": text} for i, text in enumerate(completions)]
    path.write_text("\n".join(map(json.dumps, rows)))
    return str(path)


def test_built_in_data_brings_its_own_split():
    plan = Plan.make(dataset="builtin:chat", small="s", target="t")
    assert held_out_source(plan, evaluation()) == ("builtin:chat", "held_out")
    with pytest.raises(PlanError, match="run uses the held_out split"):
        held_out_source(plan.but(split="held_out"), evaluation())


def test_held_out_samples_are_drawn_but_nearest_to_the_first_rows_where_only_these_were_read(
    tmp_path,
    sources,
):
    chosen = {}
    for name, limit in (("all", None), ("first", 50)):
        plan = Plan.make(dataset="builtin:chat", small="s", target=sources["target"], limit=limit)
        place = import_held_out(tmp_path / name, plan, evaluation(), Watch())
        chosen[name] = choose_held_out(place, plan, evaluation())
    ids = {name: found.tokens.row_ids.tolist() for name, found in chosen.items()}
    assert ids["first"] == list(range(20))
    assert len(ids["all"]) == 20 and max(ids["all"]) > 40
    assert chosen["first"].answered.tolist() == list(range(6))


def test_the_metric_is_the_tasks_or_follows_the_script():
    def metric(dataset, references=("text",), **changes):
        return metric_of(Plan.make(dataset=dataset, small="s", target="t"), evaluation(**changes), references)

    assert metric("builtin:kazakh") == "chrf"
    assert metric("builtin:docstrings") == "rouge-l"
    assert metric("own.jsonl", ("қазақ",)) == metric("own.jsonl", metric="chrf") == "chrf"
    assert metric("own.jsonl") == metric("builtin:kazakh", metric="rouge-l") == "rouge-l"


def test_held_out_data_that_the_target_cannot_read_is_refused(tmp_path, monkeypatch):
    path = write_rows(tmp_path / "apart.jsonl", ["a", "b"])
    plan = Plan.make(dataset="own.jsonl", small="s", target="t")
    place = import_held_out(tmp_path, plan, evaluation(held_out=path), Watch())
    monkeypatch.setattr(held_out, "tokenize_rows", lambda *_: [])
    with pytest.raises(DatasetError, match="no held-out sample that the target can read"):
        choose_held_out(place, plan, evaluation(held_out=path))


def test_only_samples_that_can_be_used_are_looked_for_in_the_data(tmp_path, sources):
    """A row without a response is no sample, so two of these are not the same one."""
    data = write_rows(tmp_path / "data.jsonl", ["a", "", "c", *"defghijklmnopq"])
    folder = make_source(tmp_path / "run", {**sources, "dataset": data})
    pipeline.execute(folder, Watch())
    said = {}
    for name, completions in (("apart", ["x", "", "z"]), ("shared", ["a", "", "z"])):
        path = write_rows(tmp_path / f"{name}.jsonl", completions)
        plan = Plan.make(dataset="own.jsonl", small="s", target="t")
        place = import_held_out(tmp_path / name, plan, evaluation(held_out=path), Watch())
        said[name] = shared_samples(place, open_results(folder))
    assert said == {"apart": [], "shared": ["1 of 2 held-out samples are also in the training data."]}
