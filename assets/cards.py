"""Measure a built-in model on the built-in task, and write the family's cards.

    python assets/cards.py llama nano

Takes TRAIN docstrings for fine-tuning and HELD_OUT others for the loss, both from the
training side of the task, in the order of the hash of the prompt. What was measured stands in
assets/models/FAMILY.json, and each
model's README.md is written from it and from the pretraining's own record.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

sys.path.insert(0, str(Path(__file__).parent.parent))

from staff_engine.data.builtin.split import digest
from staff_engine.data.builtin.tasks import task_rows
from staff_engine.data.tokenization import tokenize_sample
from staff_engine.data.tokens import EncodedSample
from staff_engine.models import adapters, loading
from staff_engine.models.finetune import finetune
from staff_engine.models.presets import SIZES
from staff_engine.plan import Plan
from staff_engine.scoring.scorer import Scorer, plan_batches
from staff_engine.system.files import write_json

MODELS = Path(__file__).parent / "models"
TRAIN, HELD_OUT = 400, 200
RATES = {"nano": (1e-3, 4e-3, 1e-2), "mini": (1e-3, 4e-3)}


def samples(tokenizer: Any) -> list[EncodedSample]:
    rows = sorted(task_rows("builtin:docstrings"), key=lambda row: digest(row["prompt"]))
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
    scorer = Scorer(model.requires_grad_(False), adapters.scored_layers(model, "last_block"), pad_token_id=0)
    lengths = np.array([len(sample.input_ids) for sample in held_out])
    batches = plan_batches(lengths, tokens=4096)
    return float(
        np.concatenate([scorer.score([held_out[i] for i in batch]).loss for batch in batches]).mean()
    )


def measure(name: str, size: str, plan: Plan) -> dict[str, Any]:
    """Held-out loss, nats a token and averaged over samples, without and with fine-tuning."""
    tokenizer = loading.load_tokenizer(name)
    encoded = samples(tokenizer)
    train, held_out = encoded[:TRAIN], encoded[TRAIN:]
    lengths = [len(sample.input_ids) for sample in train]
    losses: dict[str, float] = {}
    for rate in RATES[size]:
        model = adapters.add_lora(
            loading.load_model(name, dtype="float32"), rank=plan.lora_rank, alpha=plan.lora_alpha, seed=0
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
    """The text of a model's README.md: card.md with the model's figures."""
    folder = MODELS / f"{family}-{size}"
    record = json.loads((folder / "pretraining.json").read_text())
    corpus = record["corpus"]
    tuned = {name: min(v for k, v in own.items() if k != "zero_shot") for name, own in measured.items()}
    return (
        (Path(__file__).parent / "card.md")
        .read_text(encoding="utf-8")
        .format(
            family=family,
            size=size,
            record=record,
            corpus=corpus,
            config=json.loads((folder / "config.json").read_text()),
            note="".join(f"\n{line}" for line in record.get("notes", [])),
            packages=", ".join(f"{name} {version}" for name, version in corpus["packages"].items()),
            locales=", ".join(corpus["locales"]),
            locale_count=len(corpus["locales"]),
            millions=corpus["characters"] / 1e6,
            millions_of_tokens=corpus["tokens"] / 1e6,
            millions_seen=record["tokens_seen"] / 1e6,
            minutes=record["seconds"] / 60,
            held_out=HELD_OUT,
            train=TRAIN,
            losses=_table((name, own["zero_shot"], tuned[name]) for name, own in measured.items()),
            rates=_table((name, value) for name, value in measured[size].items() if name != "zero_shot"),
            curve=_table((f"{tokens / 1e6:.2f}", value) for tokens, value in _thinned(record["loss_curve"])),
        )
    )


def _table(rows: Iterable[tuple[Any, ...]]) -> str:
    cells = ([f"{cell:.3f}" if isinstance(cell, float) else str(cell) for cell in row] for row in rows)
    return "\n".join(f"| {' | '.join(row)} |" for row in cells)


def _thinned(curve: list[list[float]]) -> list[list[float]]:
    step = max(1, len(curve) // 12)
    return [*curve[:-1:step], curve[-1]]


def main(
    family: Annotated[str, typer.Argument(help="the family's name, as llama")],
    size: Annotated[str, typer.Argument(help=f"one of {', '.join(SIZES)}")],
) -> None:
    """Measure a model, then write the cards of the family's models that are measured."""
    plan = Plan(dataset="builtin:docstrings", small="builtin:x", target="builtin:x")
    path = MODELS / f"{family}.json"
    measured = json.loads(path.read_text()) if path.exists() else {}
    measured[size] = measure(str(MODELS / f"{family}-{size}"), size, plan)
    write_json(path, measured)
    record_path = MODELS / f"{family}-{size}" / "pretraining.json"
    rates = {name: value for name, value in measured[size].items() if name != "zero_shot"}
    best = min(rates, key=lambda name: rates[name])
    write_json(record_path, {**json.loads(record_path.read_text()), "finetune_learning_rate": float(best)})
    for each in measured:
        text = card(family, each, measured)
        (MODELS / f"{family}-{each}" / "README.md").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    typer.run(main)
