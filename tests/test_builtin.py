"""The models that ship with the project, and a whole run on them from the command line."""

import hashlib
import itertools
import json
import time

import numpy as np
import psutil
import pytest

from staff_engine import cli, models
from staff_engine.docstrings import docstrings
from staff_engine.results import open_results
from staff_engine.runs import find_run, read_status
from staff_engine.scoring import Scorer, plan_batches
from staff_engine.tasks import task_rows
from staff_engine.tokenization import tokenize_sample
from staff_engine.tokens import EncodedSample

NAMES = ["llama-nano", "llama-mini"]


def held_out_loss(name):
    """Mean loss on 80 docstrings, spread over the standard library."""
    tokenizer = models.load_tokenizer(f"builtin:{name}")
    samples = []
    for row in itertools.islice(docstrings(), 0, 4000, 50):
        turns = [
            {"role": "user", "content": row["prompt"]},
            {"role": "assistant", "content": row["response"]},
        ]
        sample = tokenize_sample(turns, tokenizer, max_length=512, conversation=False)
        samples.append(EncodedSample(sample.input_ids, sample.response_mask))
    model = models.load_model(f"builtin:{name}", device="cpu", dtype="float32")
    adapted = models.add_lora(model, rank=2, alpha=2, seed=0).requires_grad_(False)
    scorer = Scorer(adapted, models.scored_layers(adapted, "last_block"), pad_token_id=0)
    lengths = np.array([len(sample.input_ids) for sample in samples])
    batches = plan_batches(lengths, lengths, tokens=2048, vocabulary=4096)
    return np.concatenate([scorer.score([samples[i] for i in batch]).loss for batch in batches]).mean()


def test_both_models_are_built_in_and_small():
    assert set(NAMES) <= set(models.builtin_models())
    files = [path for path in models.BUILTIN_FOLDER.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < 60e6


@pytest.mark.parametrize("name", NAMES)
def test_a_model_has_a_card_and_its_own_learning_rate(name):
    folder = models.BUILTIN_FOLDER / name
    record = json.loads((folder / "pretraining.json").read_text())
    card = (folder / "README.md").read_text(encoding="utf-8")
    assert f"{record['parameters']:,} parameters" in card
    assert f"default is {models.default_learning_rate(f'builtin:{name}'):g}" in card


def test_the_models_of_the_family_share_a_tokenizer():
    first, second = (models.load_tokenizer(f"builtin:{name}") for name in NAMES)
    assert len(first) == 4096
    assert first.get_vocab() == second.get_vocab()


def test_the_mini_reads_the_task_better_than_the_nano():
    nano, mini = map(held_out_loss, NAMES)
    assert 2 < mini < nano < np.log(4096)


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("STAFF_HOME", str(tmp_path / "home"))
    return tmp_path


def arguments(out, **options):
    settings = {
        "dataset": "builtin:docstrings", "limit": 60,
        "small": "builtin:llama-nano", "target": "builtin:llama-mini",
        "epochs": 1, "strata": 10, "verify-per-stratum": 2, "pruning-rate": 0.9, "out": out,
    }  # fmt: skip
    return [word for name, value in (settings | options).items() for word in (f"--{name}", str(value))]


def run(out, **options):
    return cli.main(["run", *arguments(out, **options)])


@pytest.mark.long
def test_a_run_writes_the_coreset_and_the_same_one_again(home):
    digests = []
    for name in ("one.jsonl", "two.jsonl"):
        assert run(home / name) == 0
        digests.append(hashlib.sha256((home / name).read_bytes()).hexdigest())
    assert digests[0] == digests[1]
    rows = [json.loads(line) for line in (home / "one.jsonl").read_text(encoding="utf-8").splitlines()]
    source = list(itertools.islice(task_rows("builtin:docstrings"), 60))
    assert len(rows) == 6
    assert all(row in source for row in rows)
    results = open_results(find_run("latest").folder)
    assert len(results.verified_ids) == np.minimum(results.select().sizes, 2).sum() < 20


@pytest.mark.long
def test_a_run_on_a_file_that_cannot_be_used_says_so_in_one_line(home, capfd):
    (home / "data.jsonl").write_text('{"text": "a"}\n{"text": "b"}\n')
    assert run(home / "out.jsonl", dataset=home / "data.jsonl") == 2
    error = capfd.readouterr().err.strip().splitlines()[-1]
    assert "text" in error
    assert "--prompt-column" in error


@pytest.mark.long
def test_a_run_that_is_killed_goes_on_and_writes_the_same_coreset(home):
    assert run(home / "whole.jsonl") == 0
    assert cli.main(["run", *arguments(home / "killed.jsonl"), "--detach"]) == 0
    killed = find_run("latest")
    for stage in ("fine-tune", "speculate"):
        kill_in(killed, stage)
        assert read_status(killed).state == "interrupted"
        assert cli.main(["resume", killed.id, *(["--detach"] if stage == "fine-tune" else [])]) == 0
    assert (home / "killed.jsonl").read_bytes() == (home / "whole.jsonl").read_bytes()


@pytest.mark.long
def test_a_run_that_is_killed_while_it_tunes_the_target_goes_on_and_writes_the_same_coreset(home):
    tuned = {"tune-target": 12, "batch-size": 2}
    assert run(home / "whole.jsonl", **tuned) == 0
    assert cli.main(["run", *arguments(home / "killed.jsonl", **tuned), "--detach"]) == 0
    killed = find_run("latest")
    kill_in(killed, "tune target")
    assert cli.main(["resume", killed.id]) == 0
    assert (home / "killed.jsonl").read_bytes() == (home / "whole.jsonl").read_bytes()
    results = open_results(killed.folder)
    assert len(results.tuned_ids) == 12
    assert not set(results.tuned_ids) & set(results.verified_ids)


def kill_in(run, stage):
    """Wait until a run has begun a stage, and kill its process as a power cut would."""
    deadline = time.monotonic() + 60
    while (status := read_status(run)).stage != stage or status.state != "running":
        assert time.monotonic() < deadline and status.state in ("queued", "running"), status
        time.sleep(0.02)
    process = psutil.Process(status.pid)
    process.kill()
    psutil.wait_procs([process], timeout=10)
