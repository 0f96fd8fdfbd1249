"""The command `similarity`, and what the other commands make of its runs."""

import json

import pytest

from staff_engine.cli.main import main
from staff_engine.pipelines.similarity import run as similarity_run
from staff_engine.pipelines.similarity.measures import Estimate, Likeness
from staff_engine.pipelines.similarity.report import (
    REPORT_FILE,
    SCORES,
    Length,
    Pair,
    Reading,
    Report,
    Verdict,
)
from staff_engine.plan import Plan
from staff_engine.runs import control
from staff_engine.runs.status import Status, save_status
from staff_engine.selection.trust import judge_trust
from staff_engine.similarity_plan import SimilarityPlan
from staff_engine.system.files import write_json
from tests.helpers.made_cli import assert_wrong_input

SMALL = Reading(model="builtin:llama-nano", role="small", tuned_on=60)
TARGET = Reading(model="org/large", role="target", tuned_on=0)
CLOSE = Estimate(0.81, 0.7, 0.9)


@pytest.fixture(autouse=True)
def staff_home(tmp_path, monkeypatch):
    monkeypatch.setenv("STAFF_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("COLUMNS", "160")


@pytest.fixture
def data(tmp_path):
    path = tmp_path / "data.jsonl"
    path.write_text("".join(json.dumps({"prompt": f"{i}?", "response": f"{i}."}) + "\n" for i in range(20)))
    return str(path)


@pytest.fixture
def command(data):
    models = ["--small", "builtin:llama-nano", "--target", "builtin:llama-mini"]
    return ["similarity", "--dataset", data, *models]


def make_run(data, **status):
    compared = SimilarityPlan.make(smalls=(SMALL.model,), targets=(TARGET.model,))
    run = control.create_run(
        Plan.make(dataset=data, small=SMALL.model, target=TARGET.model), similarity=compared
    )
    save_status(run.folder, Status(**{"state": "finished", "exit_code": 0, **status}))
    return run


def make_report():
    likeness = Likeness(20, CLOSE, CLOSE, *[Estimate(0.1, 0.05, float("nan"))] * 4, Estimate(0.75, 0.6, 0.8))
    pair = Pair(target=TARGET, small=SMALL, score="effort, all", likeness=likeness)
    trust = judge_trust(likeness.agreement, epochs=3, scored_parameters="all")
    return Report(
        samples=20, strata=10, readings=(SMALL, TARGET), pairs=(pair,), ranks=(),
        lengths=tuple(
            Length(reading=reading, score=score, correlation=Estimate(-0.4, -0.6, -0.2))
            for reading in (SMALL, TARGET)
            for score in SCORES
        ),
        verdicts=(Verdict(target=TARGET, small=SMALL, score="effort, all", trust=trust),),
    )  # fmt: skip


def test_it_starts_a_run_of_its_own_kind(command, data, monkeypatch, capsys):
    started = []
    monkeypatch.setattr(control, "start", lambda run, **_: started.append(run))
    more = ["--small", "builtin:llama-mini", "--sample", "15", "--strata", "4", "--epochs", "1"]
    assert main([*command, *more, "--tune-target", "5", "--detach"]) == 0
    (run,) = started
    record = control.read_record(run)
    assert record.kind == "similarity"
    assert record.similarity == SimilarityPlan(
        smalls=("builtin:llama-nano", "builtin:llama-mini"), targets=("builtin:llama-mini",),
        sample=15, strata=4,
    )  # fmt: skip
    assert (record.plan.epochs, record.plan.tune_target, record.plan.dataset) == (1, 5, data)
    assert f"run {run.id} continues in the background" in capsys.readouterr().out


@pytest.mark.parametrize(
    "arguments, line",
    [
        (["--sample", "9"], "sample is 9: input should be greater than or equal to 10"),
        (["--strata", "1"], "strata is 1: input should be greater than or equal to 2"),
        (["--epochs", "0"], "epochs is '0'"),
        (["--small", "builtin:none"], "builtin:none"),
        (["--target", "/no/such/folder"], "/no/such/folder"),
    ],
)
def test_a_wrong_setting_is_refused_in_one_line(command, arguments, line, capsys):
    assert_wrong_input([*command, *arguments], line, capsys)


def test_its_process_compares_the_models(data, monkeypatch):
    run = make_run(data, state="queued", exit_code=None)
    seen = []
    monkeypatch.setattr(similarity_run, "execute", lambda folder, reporter: seen.append(folder))
    assert main(["work", str(run.folder)]) == 0
    assert seen == [run.folder]
    assert control.read_status(run).state == "finished"


def test_status_prints_what_was_found_and_has_it_as_json(data, capsys):
    run = make_run(data)
    assert main(["status", run.id]) == 0
    assert "rank corr." not in capsys.readouterr().out
    write_json(run.folder / REPORT_FILE, make_report().model_dump(mode="json"))
    assert main(["status", run.id]) == 0
    said = capsys.readouterr().out
    assert "0.81" in said and "0.70 to 0.90" in said
    assert "made by an older version, which did not hold response length" not in said
    assert "length held" in said and "0.75" in said
    assert "llama-nano, fine-tuned, for large, untouched, by effort, all: reliability is high." in said
    assert main(["status", run.id, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["report"]
    assert found["pairs"][0]["likeness"]["spearman"] == {"value": 0.81, "low": 0.7, "high": 0.9}
    assert found["pairs"][0]["likeness"]["ks"]["high"] is None


@pytest.mark.parametrize("command", ["select", "verify", "export"])
def test_there_is_no_coreset_in_it(command, data, tmp_path, capsys):
    run = make_run(data)
    out = ["--out", str(tmp_path / "c.jsonl")] if command == "export" else []
    assert_wrong_input([command, run.id, *out], "compares models; it has no coreset", capsys)


def test_the_latest_run_to_select_from_is_the_latest_that_selects(data, capsys):
    selecting = control.create_run(Plan.make(dataset=data, small=SMALL.model, target=TARGET.model))
    comparing = make_run(data)
    assert control.find_run("latest", kind="coreset") == selecting
    assert control.find_run("latest", kind="similarity") == comparing
    assert_wrong_input(["select", "latest"], f"run {selecting.id} is queued", capsys)


def test_a_report_comes_back_from_its_file_as_it_was(data):
    from staff_engine.pipelines.similarity.report import open_similarity

    run, report = make_run(data), make_report()
    write_json(run.folder / REPORT_FILE, report.model_dump(mode="json"))
    read = open_similarity(run.folder).report
    assert read.model_dump_json() == report.model_dump_json()
    assert read.verdicts == report.verdicts
