"""Which other runs can be added to an evaluation, and their labels."""

import shlex
import shutil
from itertools import pairwise

import pytest

from staff_engine.cli.command_lines import evaluate_command
from staff_engine.errors import DatasetError
from staff_engine.evaluation import planning
from staff_engine.evaluation.cells import LONGEST_LABEL
from staff_engine.plan import Plan
from staff_engine.runs import control
from staff_engine.system.files import write_json
from tests.helpers.made_evaluation import make_evaluation, write_held_out
from tests.helpers.made_run import make_finished_run


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("STAFF_HOME", str(tmp_path / "home"))
    return tmp_path


@pytest.fixture
def make(folder):
    """A finished run, and a function that copies it under a name, with an id that sorts by its end."""
    first = make_finished_run(folder, 60)

    def copy(name, end):
        run = control.Run(f"{first.id}-{end}", first.folder.with_name(f"{first.id}-{end}"))
        shutil.copytree(first.folder, run.folder)
        control.rename(run, name)
        return run

    return first, copy


def joined(source, offered):
    """The other runs of a plan that is made with them. Raises if a label is refused."""
    settings = {"methods": ("staff",), "held_out": "builtin:chat", "also": offered}
    return planning.plan_evaluation(source, **settings)[1].also


def test_finished_runs_on_the_same_data_are_offered_by_their_names_the_newest_first(make):
    source, copy = make
    old, new = copy("tuned", "aaaa"), copy("larger small model", "bbbb")
    offered = planning.runs_beside(source)
    assert list(offered.items()) == [
        ("STAFF, larger small model", str(new.folder)), ("STAFF, tuned", str(old.folder)),
    ]  # fmt: skip
    assert joined(source, offered) == offered


def test_runs_on_other_data_unfinished_damaged_and_of_another_kind_are_not_offered(make, folder):
    source, copy = make
    (folder / "other").mkdir()
    make_finished_run(folder / "other", 61)
    copy("unfinished", "aaaa").folder.joinpath("summary.json").unlink()
    copy("damaged", "bbbb").folder.joinpath("plan.json").write_text("{")
    copy("without data", "cccc").folder.joinpath("dataset", "facts.json").unlink()
    plan, evaluation = planning.plan_evaluation(source, methods=("staff",), held_out="builtin:chat")
    planning.create(plan, evaluation)
    control.create_run(
        Plan.make(dataset=plan.dataset, small="builtin:llama-nano", target="builtin:llama-mini")
    )
    assert planning.runs_beside(source) == {}


def test_runs_of_one_name_are_told_apart_and_a_newer_one_leaves_their_labels(make):
    source, copy = make
    first = copy("again", "aaaa")
    before = planning.runs_beside(source)
    second = copy("again", "bbbb")
    offered = planning.runs_beside(source)
    assert before == {"STAFF, again": str(first.folder)}
    assert offered == {"STAFF, again bbbb": str(second.folder), **before}
    assert joined(source, offered) == offered


def test_a_run_that_is_called_as_the_source_is_told_apart_from_it(make):
    source, copy = make
    run = copy(control.read_record(source).name, "aaaa")
    assert planning.runs_beside(source) == {"STAFF, made up aaaa": str(run.folder)}


def test_what_an_evaluation_has_is_left_out_and_its_labels_are_not_given_again(make):
    source, copy = make
    old, new = copy("tuned", "aaaa"), copy("tuned", "bbbb")
    known = {"STAFF, Tuned!": str(old.folder)}
    offered = planning.runs_beside(source, known)
    assert offered == {"STAFF, tuned bbbb": str(new.folder)}
    assert joined(source, {**known, **offered}) == {**known, **offered}


@pytest.mark.parametrize(
    "name", ["Мой прогон", "x" * 90, "lr=2e-4, r=8", "random", "it's --budget $HOME", "=", "🚀 " * 40]
)
def test_any_name_makes_a_label_that_is_taken_and_that_the_command_reads_back(make, name):
    source, copy = make
    run = copy(name, "aaaa")
    other = copy(name, "bbbb")
    offered = planning.runs_beside(source)
    assert set(offered.values()) == {str(run.folder), str(other.folder)}
    assert all(len(label) <= LONGEST_LABEL for label in offered)
    assert joined(source, offered) == offered
    command = evaluate_command(source.id, {"also": offered})
    words = shlex.split(command.replace("\\\n", " "))
    said = [value for option, value in pairwise(words) if option == "--also"]
    assert planning.further_runs(said) == offered


def test_held_out_data_may_be_built_in_or_a_file_which_is_named_in_full(make, folder, monkeypatch):
    source, _ = make
    (folder / "apart.jsonl").write_text('{"question": "q?", "answer": "a."}\n')
    monkeypatch.chdir(folder)
    for given, kept in (("builtin:chat", "builtin:chat"), ("apart.jsonl", str(folder / "apart.jsonl"))):
        plan, evaluation = planning.plan_evaluation(source, methods=("random",), held_out=given)
        run = planning.create(plan, evaluation)
        assert control.read_record(run).evaluation.held_out == kept
    with pytest.raises(DatasetError, match=r"data file 'gone.jsonl' does not exist"):
        planning.plan_evaluation(source, methods=("random",), held_out="gone.jsonl")


def test_what_is_judged_otherwise_or_cut_otherwise_is_estimated_anew(make, folder):
    source, _ = make
    write_json(source.folder / "timings.json", {"fine-tune": 30.0, "speculate": 2.0, "verify": 1.0})
    held_out = write_held_out(folder / "apart.jsonl")
    run = make_evaluation(source, held_out, methods=("random", "ccs"))

    def left(**changes):
        longer = planning.extended(run, **changes)
        return planning.estimate_of(control.read_record(run).plan, longer, run).cells

    assert left() == 0
    assert left(beta=0.4) == 2
    assert left(answers=2) == left(held_out_samples=2) == left(metric="chrf") == 7
    assert left(held_out="builtin:chat") == 7


def test_a_run_given_without_a_label_is_called_as_where_it_is_offered(make):
    source, copy = make
    run = copy("Мой прогон", "aaaa")
    assert planning.further_runs([run.id]) == planning.runs_beside(source) != {}
