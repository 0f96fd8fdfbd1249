"""Measure how similarly the built-in models score the three tasks: each nano compared with each mini.

    python -m benchmarks.similarity

Two similarity runs per task, under STAFF_HOME: with the minis fine-tuned on a few samples that are not
scored, and on all samples. A stopped run is resumed when the command is called again. A finished run
is not repeated. It updates docs/measured/similarity.json and .md: with `--task` or `--run`, the results
that are not measured now stay. `--quick` uses a few chats and writes nothing. It asserts nothing.
"""

from __future__ import annotations

import itertools
import json
import os
import shutil
import tempfile
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from benchmarks.machine import facts
from benchmarks.pages import FOLDER
from staff_engine.cli.watch import watch
from staff_engine.models.presets import SIZES
from staff_engine.pipelines.similarity.report import Report, open_similarity
from staff_engine.plan import Plan
from staff_engine.runs import control
from staff_engine.runs.status import ACTIVE
from staff_engine.similarity_plan import SimilarityPlan
from staff_engine.system.files import write_json
from staff_engine.system.words import listed

FAMILIES = ("llama", "gemma", "mistral")
TASKS = ("docstrings", "kazakh", "chat")
EFFORTS = ("effort, all", "effort, last_block")
LIMIT, SAMPLE, EPOCHS, SEED, FEW = 600, 300, 3, 0, 60
STATES = (0, FEW, LIMIT)
"""Number of rows on which a target is fine-tuned; the last one means all that it can read."""
RUNS = ("few", "all")
"""The runs of a task: the minis fine-tuned on a few samples, and on all. Both score them untouched too."""
SMALLS, TARGETS = (tuple(f"builtin:{family}-{size}" for family in FAMILIES) for size in SIZES)


QUICK = {"limit": 40, "sample": 20, "epochs": 1, "seed": SEED, "few": 5}
MEASURED = {"limit": LIMIT, "sample": SAMPLE, "epochs": EPOCHS, "seed": SEED, "few": FEW}


def run_named(name: str, plan: Plan, sample: int, before: control.Run | None) -> control.Run:
    """Finish the run with this name. A new run copies the results of `before` for the small models."""
    found = next((run for run in control.list_runs() if control.read_record(run).name == name), None)
    if found is None:
        compared = SimilarityPlan.make(smalls=SMALLS, targets=TARGETS, sample=sample)
        found = control.create_run(plan, name=name, similarity=compared)
        if before is not None:  # the same files, because only the fine-tuning of the targets differs
            for part in ("dataset", "sample.parquet", *(f"models/small-{i}" for i in range(len(SMALLS)))):
                _copy(before.folder / part, found.folder / part)
    if control.read_status(found).state != "finished":
        if control.read_status(found).pid is None or control.read_status(found).state not in ACTIVE:
            control.start(found)
        watch(found, cancels=False)
    return found


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(exist_ok=True)
    (shutil.copytree if source.is_dir() else shutil.copy)(source, target)


def measure(task: str, settings: dict[str, int], runs: Sequence[str] = RUNS) -> dict[str, Any]:
    """The results of the runs of a task, the seconds of each stage, and the day."""
    shared = {
        "dataset": f"builtin:{task}", "dtype": "float32", "small": SMALLS[0], "target": TARGETS[0],
        **{name: settings[name] for name in ("limit", "epochs", "seed")},
    }  # fmt: skip
    done: dict[str, control.Run] = {}
    for name in runs:
        plan = Plan.make(**shared, tune_target=settings["few" if name == "few" else "limit"])
        done[name] = run_named(f"measured {task}, {name}", plan, settings["sample"], done.get("few"))
    reports = [open_similarity(run.folder).report for run in done.values()]
    return {
        "pairs": _once(row for report in reports for row in _rows(report)),
        "lengths": [
            {"model": each.reading.words, "score": each.score, **vars(each.correlation)}
            for each in reports[-1].lengths
            if each.score != "loss"
        ],
        "seconds": {
            name: json.loads((run.folder / "timings.json").read_text()) for name, run in done.items()
        },
        "days": {name: f"{datetime.now(UTC):%Y-%m-%d}" for name in done},
    }


def _once(pairs: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Each pair of models, states and score once: the last of those that are equal in all of these."""
    return list(
        {
            tuple(pair[key] for key in ("target", "tuned_on", "small", "score")): pair for pair in pairs
        }.values()
    )


def updated(before: dict[str, Any], now: dict[str, Any]) -> dict[str, Any]:
    """The results of a task: those measured now, and those from before that were not measured again."""
    return {
        "pairs": _once([*before["pairs"], *now["pairs"]]),
        "lengths": now["lengths"] if "all" in now["days"] else before["lengths"],
        **{name: {**before[name], **now[name]} for name in ("seconds", "days")},
    }


def _rows(report: Report) -> list[dict[str, Any]]:
    return [
        {
            "target": pair.target.model, "tuned_on": pair.target.tuned_on, "small": pair.small.model,
            "score": pair.score, "spearman": vars(pair.likeness.spearman),
            "held": vars(pair.likeness.held) if pair.likeness.held else None,
            "hardest": vars(pair.likeness.hardest), "trust": trust[pair.small, pair.target, pair.score],
        }
        for trust in [{(v.small, v.target, v.score): v.trust.word for v in report.verdicts}]
        for pair in report.pairs
        if pair.score in EFFORTS and pair.small.tuned_on
    ]  # fmt: skip


HEAD = """# Similarity of the scores of the built-in models

After reading this page, you know how well each nano model predicts the scores of each mini model on three
tasks. [Choose a small model](../use/similarity.md) explains the results.

Measured with `python -m benchmarks.similarity` on {days}: {machine}, Python {python}, seed {seed}. The
values are in [similarity.json](similarity.json).

The data is the first {limit} training rows of each task. Every nano is fine-tuned on all of them ({epochs}
epochs, LoRA rank 8), in float32. All models score {sample} of the rows. A mini *tuned on {few}* was
fine-tuned on {few} rows that are not scored. A mini *tuned on all* was fine-tuned on the same rows as the
nano. Cells have two rank correlations of the effort, each with its 95 % bootstrap interval: **with response
length held** constant, and Spearman's, marked *plain*. {missing}**Bold** marks pairs of one family.

## Summary

The first figure has length held, the one in parentheses is plain. *Same family best* counts the targets, of
three, for which the nano of the same family has the highest correlation.
"""

COST = """
## What tuning the target costs

Times are in seconds and include loading the model. Other work ran on the machine, so little more than their
ranking is reliable. The first column is the fine-tuning of the nano, for comparison.
"""

LENGTH = """
## Effort and response length

Rank correlation of the effort with the number of response tokens.
"""


def page(content: dict[str, Any]) -> str:
    """The text of the measured page, from the content of its JSON file."""
    head = HEAD.format(
        **{name: content[name] for name in ("machine", "python")},
        **content["settings"],
        days=listed(sorted({day for each in content["tasks"].values() for day in each["days"].values()})),
        missing=_missing(content),
    )
    matrices = (_matrix(content, state, score) for state, score in itertools.product(STATES, EFFORTS))
    parts = [head, _in_short(content), *matrices, COST, _costs(content), LENGTH, _lengths(content)]
    return "\n".join(parts) + "\n"


def _missing(content: dict[str, Any]) -> str:
    """Where length was not held, as a sentence with a space; "" if it was everywhere."""
    lacking = [
        f"{task}, target {_words(state)}"
        for task, state in itertools.product(TASKS, STATES)
        if any(pair["held"] is None for pair in _pairs(content, task, state, EFFORTS[0]).values())
    ]
    return (
        f"A dash means that it was not measured with length held ({'; '.join(lacking)}). " if lacking else ""
    )


def _in_short(content: dict[str, Any]) -> str:
    heading = (
        "task", "target", "effort of", "same family, mean", "other families, mean", "same family best",
    )  # fmt: skip
    cases = itertools.product(TASKS, STATES, EFFORTS)
    return _table(heading, (_short(content, *case) for case in cases))


def _matrix(content: dict[str, Any], state: int, score: str) -> str:
    rows = (
        (task, _name(target), *(_cell(content, task, target, state, small, score) for small in SMALLS))
        for task in TASKS
        for target in TARGETS
    )
    title = f"\n## Target {_words(state)}, {score.replace(', ', ' of ')}\n"
    return f"{title}\n{_table(('task', 'target', *map(_name, SMALLS)), rows)}"


def _costs(content: dict[str, Any]) -> str:
    stages = (("few", "nano"), ("few", "mini"), ("all", "mini"))
    rows = (
        (
            task,
            family,
            *(
                f"{content['tasks'][task]['seconds'][run][f'fine-tune {family}-{size}']:.0f}"
                for run, size in stages
            ),
        )
        for task in TASKS
        for family in FAMILIES
    )
    return _table(("task", "family", "nano on all", f"mini on {FEW}", "mini on all"), rows)


def _lengths(content: dict[str, Any]) -> str:
    readings = dict.fromkeys(each["model"] for each in content["tasks"][TASKS[0]]["lengths"])
    cases = list(itertools.product(TASKS, EFFORTS))
    rows = ((model, *(_length(content, task, model, score) for task, score in cases)) for model in readings)
    return _table(("model", *(f"{task}, {score.partition(', ')[2]}" for task, score in cases)), rows)


def _name(model: str) -> str:
    return model.removeprefix("builtin:")


def _words(state: int) -> str:
    return {0: "untouched", FEW: f"tuned on {FEW}"}.get(state, "tuned on all")


def _pairs(content: dict[str, Any], task: str, state: int, score: str) -> dict[tuple[str, str], dict]:
    """The pairs for a task, a state of the target and a score, by target and small model."""
    wanted = {0: lambda n: n == 0, FEW: lambda n: n == FEW}.get(state, lambda n: n > FEW)
    return {
        (pair["target"], pair["small"]): pair
        for pair in content["tasks"][task]["pairs"]
        if wanted(pair["tuned_on"]) and pair["score"] == score
    }


def _short(content: dict[str, Any], task: str, state: int, score: str) -> tuple[str, ...]:
    pairs = _pairs(content, task, state, score)
    held, plain = (_shortly(pairs, name) for name in ("held", "spearman"))
    figures = (f"{first} ({second})" for first, second in zip(held, plain, strict=True))
    return (task, _words(state), score.partition(", ")[2], *figures)


def _shortly(pairs: dict[tuple[str, str], dict], name: str) -> tuple[str, str, str]:
    """Mean of the pairs of one family, mean of the others, targets for which the same family is best."""
    if any(pair[name] is None for pair in pairs.values()):
        return ("–",) * 3
    matrix = np.array([[pairs[target, small][name]["value"] for small in SMALLS] for target in TARGETS])
    same = np.eye(len(FAMILIES), dtype=bool)
    on_top = int((matrix.argmax(axis=1) == np.arange(len(FAMILIES))).sum())
    return f"{matrix[same].mean():.2f}", f"{matrix[~same].mean():.2f}", f"{on_top} of {len(FAMILIES)}"


def _cell(content: dict[str, Any], task: str, target: str, state: int, small: str, score: str) -> str:
    found = _pairs(content, task, state, score)[target, small]
    text = f"{_estimate(found['held'])}, plain {_estimate(found['spearman'])}"
    return f"**{text}**" if target.partition("-")[0] == small.partition("-")[0] else text


def _estimate(found: dict[str, float] | None) -> str:
    return "–" if found is None else f"{found['value']:.2f} ({found['low']:.2f} to {found['high']:.2f})"


def _length(content: dict[str, Any], task: str, model: str, score: str) -> str:
    lengths = content["tasks"][task]["lengths"]
    return next(f"{e['value']:.2f}" for e in lengths if (e["model"], e["score"]) == (model, score))


def _table(heading: tuple[str, ...], rows: Any) -> str:
    lines = [heading, tuple("---" for _ in heading), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def main(
    task: Annotated[
        list[str] | None, typer.Option(help="Measure only these tasks. Results of the others stay.")
    ] = None,
    run: Annotated[
        list[str] | None,
        typer.Option(help="Make only these runs of a task: few, all. Results of others stay."),
    ] = None,
    quick: Annotated[
        bool, typer.Option(help="Use a few samples to test the benchmark. Write nothing.")
    ] = False,
) -> None:
    """Start or continue the measurement, and write the page."""
    if quick:
        with tempfile.TemporaryDirectory() as home:
            os.environ["STAFF_HOME"] = home
            found = measure("chat", QUICK)["pairs"]
        rows = ((_name(pair["target"]), _name(pair["small"]), pair["score"], str(pair["tuned_on"]),
                 f"{pair['spearman']['value']:.2f}") for pair in found)  # fmt: skip
        print(_table(("target", "small", "score", "target tuned on", "Spearman"), rows))
        return
    before = json.loads((FOLDER / "similarity.json").read_text(encoding="utf-8"))["tasks"]
    now = {name: measure(name, MEASURED, run or RUNS) for name in task or TASKS}
    tasks = {**before, **{name: updated(before[name], found) for name, found in now.items()}}
    where = facts("python -m benchmarks.similarity")
    where["machine"] += ", shared with other work"
    content = {**where, "settings": MEASURED, "tasks": {name: tasks[name] for name in TASKS}}
    write_json(FOLDER / "similarity.json", content)
    (FOLDER / "similarity.md").write_text(page(content), encoding="utf-8")


if __name__ == "__main__":
    typer.run(main)
