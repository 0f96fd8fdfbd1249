"""Scoring the samples of a run: stopped and gone on with, in little memory."""

from types import SimpleNamespace

import pytest
import torch

from staff_engine.errors import ModelError
from staff_engine.models import loading
from staff_engine.pipelines.adapted import AdaptedModel
from staff_engine.pipelines.scoring import SHRUNK_FILE, score_samples
from staff_engine.scoring.head import Head
from staff_engine.scoring.parts import PartWriter, read_parts
from staff_engine.system import team
from staff_engine.system.files import read_checked, write_checked
from tests.helpers.tiny import make_plan, make_scored_model, make_tokens

LENGTHS = (20, 20, 19, 18, 10, 10, 10, 9, 9, 8, 8, 7, 7, 6, 5, 4)
TOKENS = make_tokens(LENGTHS)


class Stopped(Exception):
    pass


class Watch:
    """Stops after some batches."""

    def __init__(self, batches=99):
        self.left = batches

    def advance(self, count=1):
        self.left -= 1
        if not self.left:
            raise Stopped


def score(folder, reporter):
    done = set(read_parts(folder, ["row_id"])["row_id"].to_pylist())
    adapted = AdaptedModel(make_plan(tokens_per_batch=80), "tiny")
    vars(adapted)["model"] = make_scored_model()
    score_samples(adapted, TOKENS, done, PartWriter(folder), reporter)


@pytest.fixture(autouse=True)
def padding(monkeypatch):
    monkeypatch.setattr(loading, "load_tokenizer", lambda name: SimpleNamespace(pad_token_id=0))


@pytest.fixture
def little_room(monkeypatch):
    """Room for batches of 70 tokens; the shapes of all that were tried."""
    hidden_states, seen = Head.hidden_states, []

    def in_little_room(self, ids):
        seen.append(tuple(ids.shape))
        if ids.numel() > 70:
            raise torch.OutOfMemoryError("out of memory")
        return hidden_states(self, ids)

    monkeypatch.setattr(Head, "hidden_states", in_little_room)
    return seen


def efforts(folder):
    return dict(zip(*read_parts(folder, ["row_id", "effort"]).to_pydict().values(), strict=True))


@pytest.mark.parametrize("stop_after", [1, 2])
def test_a_run_that_goes_on_cuts_batches_as_one_that_was_never_stopped(little_room, tmp_path, stop_after):
    score(tmp_path / "whole", Watch())
    whole_shapes = list(little_room)
    little_room.clear()
    with pytest.raises(Stopped):
        score(tmp_path / "stopped", Watch(stop_after))
    score(tmp_path / "stopped", Watch())
    assert whole_shapes[:3] == [(4, 20), (2, 20), (2, 19)]
    assert little_room == whole_shapes
    assert efforts(tmp_path / "stopped") == efforts(tmp_path / "whole")
    assert read_checked(tmp_path / "stopped" / SHRUNK_FILE) == {"0": 40}


def test_what_was_scored_is_kept_when_a_sample_does_not_fit(monkeypatch, tmp_path):
    hidden_states = Head.hidden_states

    def in_no_room(self, ids):
        if ids.shape[1] < 8:
            raise MemoryError
        return hidden_states(self, ids)

    monkeypatch.setattr(Head, "hidden_states", in_no_room)
    with pytest.raises(ModelError, match="a single sample of 7 tokens does not fit"):
        score(tmp_path / "scores", Watch())
    assert sorted(efforts(tmp_path / "scores")) == list(range(12))


def test_where_memory_suffices_nothing_is_noted(tmp_path):
    score(tmp_path / "scores", Watch())
    assert len(efforts(tmp_path / "scores")) == len(LENGTHS)
    assert not (tmp_path / "scores" / SHRUNK_FILE).exists()


def test_a_divided_model_does_not_cut_the_batches_that_a_whole_one_had_to_cut(tmp_path, monkeypatch):
    hidden_states, seen = Head.hidden_states, []
    monkeypatch.setattr(
        Head, "hidden_states", lambda self, ids: (seen.append(len(ids)), hidden_states(self, ids))[1]
    )
    for sharded in (False, True):
        folder = tmp_path / str(sharded)
        folder.mkdir()
        write_checked(folder / SHRUNK_FILE, {"0": 40})
        monkeypatch.setattr(AdaptedModel, "sharded", sharded)
        score(folder, SimpleNamespace(advance=lambda count: None, cancelled=False))
    assert seen == [2, 2, 4, 4, 4, *(4, 8, 4)]  # 16 samples each time


@pytest.mark.parametrize("rank", [0, 1])
def test_a_helper_that_has_lost_its_leader_writes_nothing_more(tmp_path, monkeypatch, rank):
    monkeypatch.setattr(team, "rank", lambda: rank)
    adapted = AdaptedModel(make_plan(tokens_per_batch=80), "tiny")
    vars(adapted)["model"] = make_scored_model()

    def lose(count):
        raise team.Lost

    with pytest.raises(team.Lost):
        score_samples(
            adapted, TOKENS, set(), PartWriter(tmp_path), SimpleNamespace(advance=lose, cancelled=False)
        )
    assert len(efforts(tmp_path)) == (4 if rank == 0 else 0)
