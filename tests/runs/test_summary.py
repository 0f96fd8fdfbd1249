"""summary.json and the description of a run: typed, and JSON as it was."""

import json

import pytest

from staff_engine.errors import RunError
from staff_engine.evaluation_plan import EvaluationPlan
from staff_engine.plan import Plan
from staff_engine.runs import control
from staff_engine.runs.control import create_run, describe
from staff_engine.runs.kinds import Kind
from staff_engine.runs.status import StageStatus, Status, load_status, save_status
from staff_engine.runs.summary import Summary, load_summary, load_timings, save_summary
from staff_engine.similarity_plan import SimilarityPlan
from staff_engine.system.files import read_checked, write_json

FIRST_VERSION = {
    "rows": 62, "samples": 60, "unscorable": 2, "strata": 5, "strata_served": 4, "verified": 13,
    "to_verify": 1, "coreset_size": 30, "verify_seconds_per_sample": 0.02,
    "full_target_seconds_estimate": None, "warnings": ["fewer of the hardest were dropped"],
}  # fmt: skip
"""summary.json as the first version of the engine wrote it."""

TRUST = {
    "word": "fair", "sentence": "So it was measured.", "advice": ["Take another."], "samples": 13,
    "spearman": 0.5, "low": None, "high": 0.75, "partial": 0.25, "partial_low": None, "partial_high": 0.5,
}  # fmt: skip
LENGTHS = {
    "coreset_median": 11.5, "data_median": 12.0, "tokens": 340, "token_share": 0.45, "sample_share": 0.5,
}  # fmt: skip
NOW = {
    "rows": 62, "samples": 60, "unscorable": 2, "strata": 5, "strata_served": 4, "tuned": 0, "verified": 13,
    "to_verify": 1, "coreset_size": 30, "response_tokens": LENGTHS, "small_scoring_seconds": 0.8,
    "verify_seconds_per_sample": 0.02, "full_target_seconds_estimate": 1.25, "warnings": [], "trust": TRUST,
    "dtype": "float32", "dtype_chosen": "The models work in float32.",
}  # fmt: skip

KEYS = [
    "run_id", "name", "folder", "created", "dataset", "small", "target", "plan", "similarity", "evaluation",
    *Status.model_fields, "summary", "timings", "damage",
]  # fmt: skip
"""What `status --json` prints, in its order."""


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.setenv("STAFF_HOME", str(tmp_path / "home"))
    plan = Plan.make(dataset="builtin:docstrings", small="builtin:llama-nano", target="builtin:llama-mini")
    return create_run(plan, name="mine")


@pytest.mark.parametrize("content", [FIRST_VERSION, NOW])
def test_a_summary_of_any_version_keeps_its_keys_and_values(run, content):
    write_json(run.folder / "summary.json", content)
    summary = load_summary(run.folder)
    assert list(summary.as_json()) == list(content)
    assert summary.as_json() == content
    save_summary(run.folder, summary)
    assert read_checked(run.folder / "summary.json") == content


def test_what_an_older_version_did_not_keep_is_none(run):
    write_json(run.folder / "summary.json", FIRST_VERSION)
    summary = load_summary(run.folder)
    assert (summary.trust, summary.tuned, summary.dtype, summary.small_scoring_seconds) == (None,) * 4
    assert (summary.samples, summary.warnings) == (60, ("fewer of the hardest were dropped",))


def test_a_summary_that_is_missing_or_damaged_says_so(run):
    with pytest.raises(RunError, match=r"has no summary\.json: the run has not finished"):
        load_summary(run.folder)
    write_json(run.folder / "summary.json", {**NOW, "samples": "many"})
    with pytest.raises(RunError, match=r"summary\.json is damaged: samples: "):
        load_summary(run.folder)


def test_timings_are_seconds_by_stage(run):
    with pytest.raises(RunError, match=r"has no timings\.json: no stage of the run has finished"):
        load_timings(run.folder)
    write_json(run.folder / "timings.json", {"import": 1.145, "tokenize": 5})
    assert load_timings(run.folder) == {"import": 1.145, "tokenize": 5.0}
    write_json(run.folder / "timings.json", ["import"])
    with pytest.raises(RunError, match=r"timings\.json is damaged"):
        load_timings(run.folder)
    ended = StageStatus(name="import", seconds=1.145)
    save_status(run.folder, Status(state="finished", stages=(ended,)))
    assert load_timings(run.folder) == {"import": 1.145}, "the state has them too"


def test_a_description_is_what_the_files_say_and_its_json_is_on_one_level(run):
    stage = StageStatus(name="speculate", done=30, total=60, seconds=2.5)
    save_status(run.folder, Status(state="finished", stage="speculate", message="m", stages=(stage,)))
    write_json(run.folder / "summary.json", NOW)
    write_json(run.folder / "timings.json", {"speculate": 2.5})
    facts = describe(run)
    record = control.read_record(run)
    assert (facts.name, facts.kind, facts.plan) == ("mine", Kind.CORESET, record.plan)
    assert facts.status == load_status(run.folder)
    assert facts.summary == Summary.model_validate(NOW)
    said = facts.as_json()
    assert list(said) == KEYS
    kept = json.loads((run.folder / "plan.json").read_text())
    written = read_checked(run.folder / "status.json")
    assert said == {
        "run_id": run.id, "folder": str(run.folder), "name": "mine", "created": kept["created"],
        "dataset": "builtin:docstrings", "small": "builtin:llama-nano", "target": "builtin:llama-mini",
        "plan": kept["plan"], "similarity": None, "evaluation": None, **written,
        "summary": NOW, "timings": {"speculate": 2.5}, "damage": None,
    }  # fmt: skip
    assert json.loads(json.dumps(said)) == said


@pytest.mark.parametrize(
    ("kind", "asked"),
    [
        ("similarity", SimilarityPlan.make(smalls=("a",), targets=("b",))),
        ("evaluation", EvaluationPlan.make(source="a", methods=("staff",), pruning_rates=(0.5,))),
    ],
)
def test_a_description_of_another_kind_has_what_was_asked(run, kind, asked):
    facts = describe(create_run(control.read_record(run).plan, **{kind: asked}))
    assert facts.kind == kind
    assert getattr(facts, kind) == asked
    assert facts.as_json()[kind] == asked.model_dump(mode="json")
    assert facts.summary is None


def test_a_description_of_a_damaged_run_has_gaps(run):
    (run.folder / "plan.json").write_text("{")
    (run.folder / "summary.json").write_text("{}")
    facts = describe(run)
    assert (facts.name, facts.created, facts.kind, facts.plan, facts.summary) == (None,) * 5
    assert facts.timings == {}
    said = facts.as_json()
    assert list(said) == KEYS
    assert (said["state"], said["dataset"], said["summary"]) == ("damaged", None, None)
