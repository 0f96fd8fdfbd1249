"""How alike the built-in models score the three tasks: each nano beside each mini.

    python tests/bench/bench_similarity.py

Two similarity runs a task, under STAFF_HOME: the minis fine-tuned on a few samples apart from
those that are scored, and on all. A run that was stopped goes on when it is called again, one
that is finished is not done again. Writes docs/similarity_measured.json and .md. No test: it
asserts nothing.
"""

from __future__ import annotations

import itertools
import json
import shutil
import sys
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(Path(__file__).parent)]

import machine  # noqa: E402

from staff_engine import runs  # noqa: E402
from staff_engine.files import write_json  # noqa: E402
from staff_engine.plan import Plan, SimilarityPlan  # noqa: E402
from staff_engine.presets import SIZES  # noqa: E402
from staff_engine.similarity_results import Report, open_similarity  # noqa: E402
from staff_engine.status import ACTIVE  # noqa: E402
from staff_engine.watching import watch  # noqa: E402

FAMILIES = ("llama", "gemma", "mistral")
TASKS = ("docstrings", "kazakh", "chat")
EFFORTS = ("effort, all", "effort, last_block")
LIMIT, SAMPLE, EPOCHS, SEED, FEW = 600, 300, 3, 0, 60
STATES = (0, FEW, LIMIT)
"""Rows that a target is fine-tuned on; of all that it can read, for the last."""
SMALLS, TARGETS = (tuple(f"builtin:{family}-{size}" for family in FAMILIES) for size in SIZES)


def run_named(name: str, plan: Plan, before: runs.Run | None) -> runs.Run:
    """Finish the run of that name; a new one takes over what `before` did with the small models."""
    found = next((run for run in runs.list_runs() if runs.read_record(run).name == name), None)
    if found is None:
        compared = SimilarityPlan.make(smalls=SMALLS, targets=TARGETS, sample=SAMPLE)
        found = runs.create_run(plan, name=name, similarity=compared)
        if before is not None:  # the same files, as only the targets' fine-tuning differs
            for part in ("dataset", "sample.parquet", *(f"models/small-{i}" for i in range(len(SMALLS)))):
                _copy(before.folder / part, found.folder / part)
    if runs.read_status(found).state != "finished":
        if runs.read_status(found).pid is None or runs.read_status(found).state not in ACTIVE:
            runs.start(found)
        watch(found, cancels=False)
    return found


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(exist_ok=True)
    (shutil.copytree if source.is_dir() else shutil.copy)(source, target)


def measure(task: str) -> dict[str, Any]:
    """What the two runs of a task found, and the seconds that each stage took."""
    shared = {
        "dataset": f"builtin:{task}", "limit": LIMIT, "epochs": EPOCHS, "seed": SEED, "dtype": "float32",
        "small": SMALLS[0], "target": TARGETS[0],
    }  # fmt: skip
    few = run_named(f"measured {task}, few", Plan.make(**shared, tune_target=FEW), None)
    every = run_named(f"measured {task}, all", Plan.make(**shared, tune_target=LIMIT), few)
    seconds = {
        name: json.loads((run.folder / "timings.json").read_text())
        for name, run in (("few", few), ("all", every))
    }
    pairs = [*_rows(open_similarity(few.folder).report), *_rows(open_similarity(every.folder).report)]
    lengths = [
        {"model": each.reading.words, "score": each.score, **vars(each.correlation)}
        for each in open_similarity(every.folder).report.lengths
        if each.score != "loss"
    ]
    unique = {json.dumps([pair[k] for k in ("target", "tuned_on", "small", "score")]): pair for pair in pairs}
    return {"pairs": list(unique.values()), "lengths": lengths, "seconds": seconds}


def _rows(report: Report) -> list[dict[str, Any]]:
    return [
        {
            "target": pair.target.model, "tuned_on": pair.target.tuned_on, "small": pair.small.model,
            "score": pair.score, "spearman": vars(pair.likeness.spearman),
            "hardest": vars(pair.likeness.hardest), "trust": trust[pair.small, pair.target, pair.score],
        }
        for trust in [{(v.small, v.target, v.score): v.trust.word for v in report.verdicts}]
        for pair in report.pairs
        if pair.score in EFFORTS and pair.small.tuned_on
    ]  # fmt: skip


HEAD = """# How alike the models of a family score, measured

Written by `python tests/bench/bench_similarity.py` on {date}: {machine}, Python {python}, seed {seed}.
The figures are in [similarity_measured.json](similarity_measured.json); [similarity.md](similarity.md)
says what they mean.

The first {limit} training rows of each task; every nano fine-tuned on all of them ({epochs} epochs, LoRA
rank 8), float32; {sample} of the rows scored by all. A mini *tuned on {few}* was fine-tuned on {few} rows
apart from the scored ones, one *tuned on all* on the same rows as the nano. Cells are Spearman's rank
correlation of the effort with its 95 % bootstrap interval; **bold**: of one family.

## In short

*Same family on top*: for how many of the three targets the nano of its own family correlates most.
"""

COST = """
## What tuning the target costs

Seconds with the loading of the model, other work running beside, so that little more than their order holds;
the nano's own fine-tuning beside them.
"""

LENGTH = """
## Effort and response length

Rank correlation of the effort with the number of response tokens.
"""


def page(content: dict[str, Any]) -> str:
    """The measured page, from the JSON's content."""
    head = HEAD.format(
        **{name: content[name] for name in ("date", "machine", "python")}, **content["settings"]
    )
    matrices = (_matrix(content, state, score) for state, score in itertools.product(STATES, EFFORTS))
    parts = [head, _in_short(content), *matrices, COST, _costs(content), LENGTH, _lengths(content)]
    return "\n".join(parts) + "\n"


def _in_short(content: dict[str, Any]) -> str:
    heading = (
        "task", "target", "effort of", "same family, mean", "others, mean", "same family on top",
        "every same above every other",
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
    """The pairs of a task, a target's state and a score, by target and small model."""
    wanted = {0: lambda n: n == 0, FEW: lambda n: n == FEW}.get(state, lambda n: n > FEW)
    return {
        (pair["target"], pair["small"]): pair
        for pair in content["tasks"][task]["pairs"]
        if wanted(pair["tuned_on"]) and pair["score"] == score
    }


def _short(content: dict[str, Any], task: str, state: int, score: str) -> tuple[str, ...]:
    values = {key: pair["spearman"]["value"] for key, pair in _pairs(content, task, state, score).items()}
    matrix = np.array([[values[target, small] for small in SMALLS] for target in TARGETS])
    same = np.eye(len(FAMILIES), dtype=bool)
    on_top = int((matrix.argmax(axis=1) == np.arange(len(FAMILIES))).sum())
    every = "yes" if matrix[same].min() > matrix[~same].max() else "no"
    return (
        task, _words(state), score.partition(", ")[2], f"{matrix[same].mean():.2f}",
        f"{matrix[~same].mean():.2f}", f"{on_top} of {len(FAMILIES)}", every,
    )  # fmt: skip


def _cell(content: dict[str, Any], task: str, target: str, state: int, small: str, score: str) -> str:
    found = _pairs(content, task, state, score)[target, small]["spearman"]
    text = f"{found['value']:.2f} ({found['low']:.2f} to {found['high']:.2f})"
    return f"**{text}**" if target.partition("-")[0] == small.partition("-")[0] else text


def _length(content: dict[str, Any], task: str, model: str, score: str) -> str:
    lengths = content["tasks"][task]["lengths"]
    return next(f"{e['value']:.2f}" for e in lengths if (e["model"], e["score"]) == (model, score))


def _table(heading: tuple[str, ...], rows: Any) -> str:
    lines = [heading, tuple("---" for _ in heading), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def main(
    task: Annotated[list[str] | None, typer.Option(help="only these tasks, without writing the page")] = None,
) -> None:
    """Measure, or go on measuring; with all three tasks, write the page."""
    tasks = {name: measure(name) for name in task or TASKS}
    if set(tasks) != set(TASKS):
        return
    here = machine.facts("python tests/bench/bench_similarity.py", seed=SEED)
    content = {
        "date": here["date"],
        "machine": f"{here['machine']}, shared with other work",
        "python": here["python"],
        "settings": {"limit": LIMIT, "sample": SAMPLE, "epochs": EPOCHS, "seed": SEED, "few": FEW},
        "tasks": tasks,
    }
    write_json(ROOT / "docs" / "similarity_measured.json", content)
    (ROOT / "docs" / "similarity_measured.md").write_text(page(content), encoding="utf-8")


if __name__ == "__main__":
    typer.run(main)
