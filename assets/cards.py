"""Measure the built-in models on the built-in task, and write their cards.

    python assets/cards.py llama

Takes TRAIN docstrings for fine-tuning and HELD_OUT others for the loss, both chosen by
the hash of the prompt. What was measured stands in assets/models/FAMILY.json, and each
model's README.md is written from it and from the pretraining's own record.
"""

from __future__ import annotations

import hashlib
import json
import platform
import sys
import tempfile
import time
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

sys.path.insert(0, str(Path(__file__).parent.parent))

from staff_engine import models  # noqa: E402
from staff_engine.files import write_json  # noqa: E402
from staff_engine.finetune import finetune  # noqa: E402
from staff_engine.plan import Plan  # noqa: E402
from staff_engine.scoring import Scorer, plan_batches  # noqa: E402
from staff_engine.tasks import docstrings  # noqa: E402
from staff_engine.tokenization import tokenize_sample  # noqa: E402
from staff_engine.tokens import EncodedSample  # noqa: E402

MODELS = Path(__file__).parent / "models"
TRAIN, HELD_OUT = 600, 300
RATES = {"nano": (1e-4, 1e-3, 4e-3, 1e-2), "mini": (1e-4, 1e-3, 4e-3)}


def samples(tokenizer: Any) -> list[EncodedSample]:
    rows = sorted(docstrings(), key=lambda row: hashlib.sha256(row["prompt"].encode()).digest())
    encoded = []
    for row in rows[: TRAIN + HELD_OUT]:
        turns = [
            {"role": "user", "content": row["prompt"]},
            {"role": "assistant", "content": row["response"]},
        ]
        sample = tokenize_sample(turns, tokenizer, max_length=tokenizer.model_max_length, conversation=False)
        encoded.append(EncodedSample(sample.input_ids, sample.response_mask))
    return encoded


def loss(model: Any, held_out: list[EncodedSample]) -> float:
    scorer = Scorer(model.requires_grad_(False), models.scored_layers(model, "last_block"), pad_token_id=0)
    lengths = np.array([len(sample.input_ids) for sample in held_out])
    batches = plan_batches(lengths, lengths, tokens=4096, vocabulary=model.config.vocab_size)
    return float(
        np.concatenate([scorer.score([held_out[i] for i in batch]).loss for batch in batches]).mean()
    )


def measure(name: str, size: str, plan: Plan) -> dict[str, Any]:
    """Held-out loss, nats a token and averaged over samples, without and with fine-tuning."""
    tokenizer = models.load_tokenizer(name)
    encoded = samples(tokenizer)
    train, held_out = encoded[:TRAIN], encoded[TRAIN:]
    lengths = [len(sample.input_ids) for sample in train]
    losses: dict[str, float] = {}
    for rate in RATES[size]:
        model = models.add_lora(
            models.load_model(name, dtype="float32"), rank=plan.lora_rank, alpha=plan.lora_alpha, seed=0
        )
        losses.setdefault("zero_shot", loss(model, held_out))
        with tempfile.TemporaryDirectory() as folder:
            finetune(
                model,
                train,
                lengths,
                Path(folder) / "adapter",
                pad_token_id=0,
                epochs=plan.epochs,
                batch_size=plan.batch_size,
                learning_rate=rate,
                seed=0,
            )
        losses[f"{rate:g}"] = loss(model.eval(), held_out)
    return losses


def card(family: str, size: str, measured: dict[str, Any]) -> str:
    """The text of a model's README.md."""
    folder = MODELS / f"{family}-{size}"
    record = json.loads((folder / "pretraining.json").read_text())
    config = json.loads((folder / "config.json").read_text())
    corpus = record["corpus"]
    packages = ", ".join(f"{name} {version}" for name, version in corpus["packages"].items())
    own = measured[size]
    rate = f"{record['finetune_learning_rate']:g}"
    lines = "\n".join(
        f"| {name} | {measured[name]['zero_shot']:.3f} | {min(v for k, v in measured[name].items() if k != 'zero_shot'):.3f} |"
        for name in RATES
    )
    rates = "\n".join(f"| {name} | {value:.3f} |" for name, value in own.items() if name != "zero_shot")
    curve = "\n".join(
        f"| {tokens / 1e6:.2f} | {value:.3f} |" for tokens, value in _thinned(record["loss_curve"])
    )
    return f"""# {family}-{size}

A causal language model of {record["parameters"]:,} parameters for trying STAFF Studio offline: {config["model_type"]}
architecture, hidden size {config["hidden_size"]}, {config["num_hidden_layers"]} blocks, {config["vocab_size"]:,} BPE tokens,
{config["max_position_embeddings"]} positions, float16 safetensors. It writes nothing worth reading; it scores samples.

**Data.** Python source and documentation of installed packages ({packages}), functions with the first
paragraph of their docstring as prompt and response, and names of countries, languages and currencies from
CLDR in {len(corpus["locales"])} languages ({", ".join(corpus["locales"])}): {corpus["documents"]:,} documents,
{corpus["characters"] / 1e6:.1f} M characters, {corpus["tokens"] / 1e6:.1f} M tokens. The standard library, which
`builtin:docstrings` is made of, was not read, and what the packages share with it was left out.

**Training.** {record["tokens_seen"] / 1e6:.1f} M tokens in {record["seconds"] / 60:.0f} minutes on two CPU cores shared with other
work; loss on pretraining text that was held out: {record["held_out_loss"]:.3f} nats a token.

**On `builtin:docstrings`**, loss in nats a token averaged over {HELD_OUT} samples that were not trained on, before and
after fine-tuning on {TRAIN} others with LoRA (rank 8, 3 epochs, batch 8, seed 0):

| model | zero-shot | fine-tuned |
|---|---|---|
{lines}

By learning rate; the default for this model is {rate}:

| learning rate | loss |
|---|---|
{rates}

**Loss curve** of pretraining:

| M tokens | loss |
|---|---|
{curve}

**Licence.** The weights are under the project's licence. The packages read are under permissive licences (BSD,
MIT, Apache 2.0, PSF-based, HPND); CLDR is under the Unicode licence.

**To make it again:** `pip install -r requirements.txt -r assets/requirements.txt`, then
`python assets/pretrain.py {family} {size} --tokens {record["tokens_seen"]}` and `python assets/cards.py {family}`.
"""


def _thinned(curve: list[list[float]]) -> list[list[float]]:
    step = max(1, len(curve) // 12)
    return [*curve[:-1:step], curve[-1]]


def main(family: Annotated[str, typer.Argument(help="the family's name, as llama")]) -> None:
    """Measure a family's models and write their cards."""
    plan = Plan(dataset="builtin:docstrings", small="builtin:x", target="builtin:x")
    started = time.time()
    measured: dict[str, Any] = {size: measure(str(MODELS / f"{family}-{size}"), size, plan) for size in RATES}
    for size in RATES:
        path = MODELS / f"{family}-{size}" / "pretraining.json"
        rates = {name: value for name, value in measured[size].items() if name != "zero_shot"}
        best = min(rates, key=lambda name: rates[name])
        write_json(path, {**json.loads(path.read_text()), "finetune_learning_rate": float(best)})
    facts = {
        "command": f"python assets/cards.py {family}",
        "machine": platform.processor() or platform.machine(),
    }
    write_json(MODELS / f"{family}.json", {**facts, "seconds": round(time.time() - started), **measured})
    for size in RATES:
        (MODELS / f"{family}-{size}" / "README.md").write_text(card(family, size, measured), encoding="utf-8")


if __name__ == "__main__":
    typer.run(main)
