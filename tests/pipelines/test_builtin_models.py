"""The models that ship with the project, and a whole run on them from the command line."""

import hashlib
import itertools
import json

import numpy as np
import pytest

from staff_engine.cli import main
from staff_engine.data.builtin.docstrings import docstrings
from staff_engine.data.builtin.tasks import task_rows
from staff_engine.data.tokenization import tokenize_sample
from staff_engine.data.tokens import EncodedSample
from staff_engine.models import adapters, loading, sources
from staff_engine.models.presets import SIZES
from staff_engine.runs.control import find_run
from staff_engine.runs.results import open_results
from staff_engine.scoring.scorer import Scorer, plan_batches

VOCABULARY = {"llama": 4096, "gemma": 6144, "mistral": 3072}
ARCHITECTURE = {"llama": "llama", "gemma": "gemma3_text", "mistral": "mistral"}
NAMES = [f"{family}-{size}" for family in VOCABULARY for size in SIZES]


def held_out_loss(name):
    """Mean loss on 80 docstrings, spread over the standard library."""
    tokenizer = loading.load_tokenizer(f"builtin:{name}")
    samples = []
    for row in itertools.islice(docstrings(), 0, 4000, 50):
        turns = [
            {"role": "user", "content": row["prompt"]},
            {"role": "assistant", "content": row["response"]},
        ]
        sample = tokenize_sample(turns, tokenizer, max_length=512, conversation=False)
        samples.append(EncodedSample(sample.input_ids, sample.response_mask))
    model = loading.load_model(f"builtin:{name}", device="cpu", dtype="float32")
    adapted = adapters.add_lora(model, rank=2, alpha=2, seed=0).requires_grad_(False)
    scorer = Scorer(adapted, adapters.scored_layers(adapted, "last_block"), pad_token_id=0)
    lengths = np.array([len(sample.input_ids) for sample in samples])
    batches = plan_batches(lengths, tokens=2048)
    return np.concatenate([scorer.score([samples[i] for i in batch]).loss for batch in batches]).mean()


def record_of(name):
    return json.loads((sources.BUILTIN_FOLDER / name / "pretraining.json").read_text())


def test_six_models_are_built_in_and_small():
    assert sources.builtin_models() == sorted(NAMES)
    files = [path for path in sources.BUILTIN_FOLDER.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < 60e6


@pytest.mark.parametrize("name", NAMES)
def test_a_model_has_a_card_and_its_own_learning_rate(name):
    folder = sources.BUILTIN_FOLDER / name
    record = json.loads((folder / "pretraining.json").read_text())
    card = (folder / "README.md").read_text(encoding="utf-8")
    assert f"{record['parameters']:,} parameters" in card
    assert f"default is {loading.default_learning_rate(f'builtin:{name}'):g}" in card


@pytest.mark.parametrize("family", VOCABULARY)
def test_the_models_of_a_family_share_architecture_and_tokenizer(family):
    names = [f"{family}-{size}" for size in SIZES]
    first, second = (loading.load_tokenizer(f"builtin:{name}") for name in names)
    assert len(first) == VOCABULARY[family]
    assert first.get_vocab() == second.get_vocab()
    configs = [json.loads((sources.BUILTIN_FOLDER / name / "config.json").read_text()) for name in names]
    assert {config["model_type"] for config in configs} == {ARCHITECTURE[family]}


def test_no_two_families_read_the_same_package_or_language_and_none_reads_kazakh():
    corpora = [record_of(f"{family}-nano")["corpus"] for family in VOCABULARY]
    for first, second in itertools.combinations(corpora, 2):
        assert set(first["packages"]) & set(second["packages"]) == {"babel"}
        assert not set(first["locales"]) & set(second["locales"])
    assert not any(locale.startswith("kk") for corpus in corpora for locale in corpus["locales"])


@pytest.mark.parametrize("family", VOCABULARY)
def test_the_mini_reads_text_that_it_has_not_seen_better_than_the_nano(family):
    nano, mini = (record_of(f"{family}-{size}")["held_out_loss"] for size in SIZES)
    assert mini < nano - 0.1
    nano, mini = (held_out_loss(f"{family}-{size}") for size in SIZES)
    assert 2 < mini < nano < np.log(VOCABULARY[family])


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
    return main.main(["run", *arguments(out, **options)])


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
@pytest.mark.parametrize(
    ("row", "what_to_do"),
    [
        ({"text": "a"}, "split each text into a prompt and a completion"),
        ({"title": "a", "body": "b"}, "columns 'title', 'body'; set --prompt-column"),
    ],
)
def test_a_run_on_a_file_that_cannot_be_used_says_so_in_one_line(home, capfd, row, what_to_do):
    (home / "data.jsonl").write_text(f"{json.dumps(row)}\n" * 2)
    assert run(home / "out.jsonl", dataset=home / "data.jsonl") == 2
    error = capfd.readouterr().err.strip().splitlines()[-1]
    assert error.startswith("error: ") and what_to_do in error
