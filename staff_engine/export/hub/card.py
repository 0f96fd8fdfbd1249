"""The dataset card of an exported folder: its README.md, with the description that the hub reads."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from staff_engine.brought_scores import NO_MODEL
from staff_engine.data.builtin.tasks import is_task, task_of
from staff_engine.program import COMMAND, NAME
from staff_engine.system.words import counted

if TYPE_CHECKING:
    from staff_engine.samples.decisions import Decisions

SIZES = (
    (10**3, "n<1K"),
    (10**4, "1K<n<10K"),
    (10**5, "10K<n<100K"),
    (10**6, "100K<n<1M"),
    (10**7, "1M<n<10M"),
    (10**8, "10M<n<100M"),
)
"""The hub's names of sizes, each with the number of rows below which it applies."""

HUB_NAME = re.compile(r"[\w.-]+/[\w.-]+(:\S+)?", re.ASCII)
"""A data set on the hub; the names of local data have no folder here."""

BARS = 12
WIDTH = 30
"""Bars of the histogram, and the characters of the longest."""


def write_card(path: Path, manifest: dict[str, Any], files: Sequence[str], decisions: Decisions) -> None:
    """Write the card of a coreset.

    Parameters
    ----------
    manifest
        The content of the manifest, without its files.
    files
        The names of the files in the data folder.
    decisions
        The decision on every row.
    """
    import yaml

    head = yaml.safe_dump(_description(manifest, files), sort_keys=False, allow_unicode=True)
    path.write_text(f"---\n{head}---\n\n{_text(manifest, decisions)}", encoding="utf-8")


def _description(manifest: dict[str, Any], files: Sequence[str]) -> dict[str, Any]:
    """The part of the card that the hub and `load_dataset` read."""
    data = [name for name in files if not name.endswith("dataset_info.json")]
    source = manifest["data"]["source"]
    size = next((name for most, name in SIZES if manifest["counts"]["selected"] < most), "n>100M")
    described: dict[str, Any] = {
        "configs": [
            {
                "config_name": "default",
                "data_files": [{"split": "train", "path": data[0] if len(data) == 1 else data}],
            }
        ],
        "size_categories": [size],
        "tags": ["coreset", "staff-studio"],
    }
    if is_task(source):
        described |= {"license": "other", "license_name": task_of(source).license}
    elif HUB_NAME.fullmatch(source):
        described["source_datasets"] = [source.partition(":")[0]]
    return described


def _text(manifest: dict[str, Any], decisions: Decisions) -> str:
    counts, plan, settings = manifest["counts"], manifest["plan"], manifest["settings"]
    source = manifest["data"]["source"]
    changed = {name: value for name, value in settings.items() if plan.get(name) != value}
    options = "".join(f" \\\n    --{name.replace('_', '-')}={value}" for name, value in changed.items())
    rows = "\n".join(f"| `{name}` | {value} |" for name, value in settings.items())
    strata = "\n".join(
        f"| {each['stratum']} | {_number(each['low'])} to {_number(each['high'])} | {each['size']:,} | "
        f"{each['verified']:,} | {_number(each['ratio'])} | {each['budget']:,} |"
        for each in manifest["strata"]
        if each["size"]
    )
    warnings = "".join(f"- {warning}\n" for warning in manifest["warnings"])
    return f"""# Coreset of {source}

{counted(counts["selected"], "row")} of {counts["rows"]:,}, selected with {NAME} {manifest["version"]}
{_made(plan, counts)} The rows are in the order of the source, in the
format `{manifest["format"]}`.

```python
from datasets import load_dataset

rows = load_dataset("PATH OR NAME OF THIS FOLDER", split="train")  # {counts["selected"]:,} rows
```

## Settings

| setting | value |
|---|---|
{rows}

## Strata

| stratum | score | rows | verified | ratio | kept |
|---|---|---|---|---|---|
{strata}

## Scores

Rows by score, all (`·`) and kept (`#`):

```
{_histogram(decisions)}
```

{f"## Warnings{chr(10)}{chr(10)}{warnings}{chr(10)}" if warnings else ""}## How to make it again

```bash
{COMMAND} run --plan staff/manifest.json{options}
```

`{source}` and the models must be where the command finds them. The data must have the fingerprint
`{manifest["data"]["fingerprint"]}`.

## Files

`staff/decisions.parquet` has the scores, the stratum and the decision for every row of the source.
`staff/manifest.json` has the data, models, versions, settings and counts.
"""


def _made(plan: dict[str, Any], counts: dict[str, int]) -> str:
    """What scored the rows; it completes the sentence about the selection."""
    target = "" if plan["target"] == NO_MODEL else f"for fine-tuning `{plan['target']}`"
    verified = f"the target verified {counts['verified']:,} of them." if target else ""
    if plan["scores"] is None:
        scored = f"The small model `{plan['small']}` scored {counts['scorable']:,} rows,"
    else:
        scored = f"The scores of {counts['scorable']:,} rows are from `{plan['scores']}`,"
    return f"{target}. {scored}\nand {verified}" if target else f"by scores of others. {scored[:-1]}."


def _histogram(decisions: Decisions) -> str:
    """Bars of all rows and of the kept ones, over scores on a log scale if they are positive."""
    scored = np.isfinite(decisions.speculative)
    scores = decisions.speculative[scored]
    if not len(scores):
        return "no scores"
    log = scores.min() > 0 and scores.max() > scores.min()
    low, high = float(scores.min()), float(scores.max())
    edges = np.geomspace(low, high, BARS + 1) if log else np.linspace(low, high, BARS + 1)
    bins = np.clip(np.searchsorted(edges, scores, side="right") - 1, 0, BARS - 1)
    every = np.bincount(bins, minlength=BARS)
    kept = np.bincount(bins[decisions.kept[scored]], minlength=BARS)
    bar = [max(1, round(WIDTH * count / every.max())) if count else 0 for count in every.tolist()]
    filled = [round(length * k / n) if n else 0 for length, k, n in zip(bar, kept, every, strict=True)]
    return "\n".join(
        f"{edges[i]:>10.4g} to {edges[i + 1]:>10.4g}  {'#' * filled[i]}{'·' * (bar[i] - filled[i])}"
        f" {kept[i]:,} of {every[i]:,}"
        for i in range(BARS)
    )


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"
