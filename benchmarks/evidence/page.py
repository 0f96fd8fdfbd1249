"""The page on what coresets are worth, from the file that `benchmarks.evidence` wrote."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from typing import Any

import numpy as np

from benchmarks.machine import table, written_by
from staff_engine.evaluation.cells import FULL, NOTHING, label_of
from staff_engine.evaluation.metrics import METRIC_WORDS
from staff_engine.evaluation.report import Mean, mean_over_seeds, paired_difference
from staff_engine.selection.baselines.candidates import BETA
from staff_engine.selection.baselines.ccs import CCS_STRATA

BASELINES = ("random", "grand", "el2n", "ccs", "d2")
BETTER = {"loss": -1, "metric": 1}
"""The sign of a change for the better."""
DIGITS = {"loss": 3, "metric": 1}

Values = dict[int, float]
"""A figure of each seed."""

HEAD = """# Does the coreset train as well?

{written}
{cells}

The first {limit} training rows of each task. The family's nano speculates, its mini is the target; K =
{strata}, b_v = {verify_per_stratum}. A cell is the target, fine-tuned with LoRA on one coreset for
{epochs} epochs over it (equal epochs, so a smaller coreset takes fewer steps), then judged on
{held_out_samples} held-out samples: their loss, and, on {answers} of them, the score of greedily
generated answers. {seeds} seeds, each of the selection and of the fine-tuning on it; scores come from one
fine-tuning. Figures are means with the half width of their 95 % interval over the seeds (Student's t).
GraNd, EL2N, CCS and D2 read the scores of the target, fine-tuned on all rows, as in the paper; *STAFF,
target tuned* fine-tunes the target on {tune_target} rows before it verifies others. CCS has K =
{ccs_strata}, as in its paper; CCS and D2 cut off the hardest {beta:.0%}, as STAFF does.
[evidence.md](../evidence.md) says how to do this with other data.
"""

RATES_PICTURE = """
## By pruning rate

![Held-out loss and answers over the pruning rate, a line for each method](evidence_rates.svg)

Means over the seeds; the tables below have the intervals."""

FAMILIES_PICTURE = """
![Each method's difference to random with its interval, for each task and family](evidence_families.svg)

Each method's difference to random, paired by seed, with its 95 % interval."""

PAPER = """
## Beside the paper

The paper (Zhang et al., ICLR 2025) fine-tunes models a thousand times as large, on tasks of tens of
thousands of samples. Its tables could not be opened where this was written; its figures are as they were
told to us, as are those of an independent re-run. *Best other* is the best of the five baselines in each
cell, chosen with hindsight. The sizes are not the same; what can be set beside each other is who stands
above whom, and by the intervals above most of it is not told apart.

{figures}
"""


def page(content: dict[str, Any]) -> str:
    """The measured page, from the JSON's content."""
    found = content["comparisons"]
    there = sum(len(each["cells"]) for each in found)
    planned = content["planned"]
    head = HEAD.format(
        written=written_by(content, "evidence.json"),
        cells=f"All {planned} cells are there."
        if there == planned
        else f"Of {planned} cells {there} are there; the same command makes what is missing.",
        ccs_strata=CCS_STRATA, beta=BETA, **content["settings"],
    )  # fmt: skip
    parts = [head, _in_short(found)]
    swept = [each for each in found if len(rates_of(each)) > 1]
    if swept:
        parts.append(RATES_PICTURE)
    parts += [_by_rate(each) for each in swept]
    parts.append(_by_family(found))
    parts.append(_differences(found))
    parts += [_costs(found), PAPER.format(figures=_beside_paper(found))]
    return "\n".join(parts)


def values_of(found: dict[str, Any], arm: str, rate: float | None, figure: str) -> Values:
    """A figure of an arm at a rate, by seed."""
    return {
        cell["seed"]: cell[figure]
        for cell in found["cells"]
        if cell["arm"] == arm and cell["pruning_rate"] == rate and cell[figure] is not None
    }


def difference(found: dict[str, Any], arm: str, other: str, rate: float, figure: str) -> Mean | None:
    """The paired difference of two arms at a rate; None where they share no seed."""
    other_rate = None if other == FULL else rate
    return paired_difference(values_of(found, arm, rate, figure), values_of(found, other, other_rate, figure))


def verdict(mean: Mean | None, figure: str) -> str:
    """better, worse or even: what the interval of a difference allows to say; "" without one."""
    if mean is None or mean.seeds < 2:
        return ""
    if not mean.tells:
        return "even"
    return "better" if mean.value * BETTER[figure] > 0 else "worse"


def arms_of(found: Iterable[dict[str, Any]]) -> list[str]:
    """The arms that choose, STAFF's first."""
    names = dict.fromkeys(cell["arm"] for each in found for cell in each["cells"])
    own = [name for name in names if name not in (NOTHING, FULL, *BASELINES)]
    return [*own, *(name for name in BASELINES if name in names)]


def rates_of(found: dict[str, Any]) -> list[float]:
    return sorted({cell["pruning_rate"] for cell in found["cells"]} - {None})


def place_of(found: dict[str, Any]) -> str:
    """The task and the family of a comparison, in words."""
    return f"{found['task']}, {found['family']}"


def _figure_words(found: dict[str, Any], figure: str) -> str:
    return "held-out loss, nats" if figure == "loss" else f"{METRIC_WORDS[found['metric']]}, 0 to 100"


def _in_short(found: list[dict[str, Any]]) -> str:
    arms = [arm for arm in arms_of(found) if arm != "random"]
    lines = [
        "## In short",
        "",
        "Beside random, over all tasks, families and rates: in how many the interval of",
    ]
    lines += ["the paired difference says better, says worse, or holds 0 (*even*)."]
    heading = ("", "by loss: better, even, worse", "mean difference, nats", "by answers: better, even, worse")
    rows = []
    for arm in arms:
        means = {figure: beside_random(found, arm, figure) for figure in BETTER}
        counts = {figure: _tally(verdict(mean, figure) for mean in means[figure]) for figure in BETTER}
        mean = f"{np.mean([each.value for each in means['loss']]):+.3f}" if means["loss"] else "–"
        rows.append((label_of(arm), counts["loss"], mean, counts["metric"]))
    lines += ["", table(heading, rows), ""]
    if beside_random(found, "staff", "loss"):
        lines += [
            f"Half of STAFF's intervals reach further than {median_reach(found, 'loss'):.3f} nats and"
            f" {median_reach(found, 'metric'):.1f} points to either side: less was not told apart.",
            "",
        ]
    own = [arm for arm in arms if arm not in BASELINES]
    rows = []
    for arm, figure in itertools.product(own, BETTER):
        best = [_beside_best(each, arm, rate, figure) for each in found for rate in rates_of(each)]
        full = [verdict(difference(each, arm, FULL, 0.2, figure), figure) for each in found]
        above = [
            mean.value * BETTER[figure] > 0
            for each in found
            if (mean := difference(each, arm, FULL, 0.2, figure)) is not None
        ]
        rows.append(
            (
                f"{label_of(arm)}, {'loss' if figure == 'loss' else 'answers'}",
                _tally(best),
                f"{sum(above)} of {len(above)} ({_tally(full)})",
            )
        )
    lines += [
        "Beside the best of the five others in each cell, which is chosen with hindsight and so flattered;",
        "and at 20 % removed beside the full data: in how many the mean is better (and what intervals say).",
    ]
    heading = ("", "best other: better, even, worse", "full data at 20 %: above it (better, even, worse)")
    return "\n".join([*lines, "", table(heading, rows)])


def beside_random(found: list[dict[str, Any]], arm: str, figure: str) -> list[Mean]:
    """The paired differences of an arm to random, one for each task, family and rate."""
    means = (difference(each, arm, "random", rate, figure) for each in found for rate in rates_of(each))
    return [mean for mean in means if mean is not None]


def tally(verdicts: Iterable[str]) -> tuple[int, int, int]:
    """In how many something is better, even and worse."""
    known = list(verdicts)
    better, even, worse = (known.count(word) for word in ("better", "even", "worse"))
    return better, even, worse


def median_reach(found: list[dict[str, Any]], figure: str) -> float:
    """Half the width of STAFF's intervals beside random, the median: less is not told apart."""
    return float(np.median([mean.high - mean.value for mean in beside_random(found, "staff", figure)]))


def _tally(verdicts: Iterable[str]) -> str:
    return ", ".join(map(str, tally(verdicts)))


def _beside_best(found: dict[str, Any], arm: str, rate: float, figure: str) -> str:
    best = _best(found, rate, figure)
    return verdict(difference(found, arm, best, rate, figure), figure) if best else ""


def _best(found: dict[str, Any], rate: float, figure: str) -> str | None:
    """The baseline that does best at a rate; None where there is none."""
    means = {}
    for other in BASELINES:
        values = values_of(found, other, rate, figure)
        if values:
            means[other] = float(np.mean(list(values.values()))) * BETTER[figure]
    return max(means, key=means.__getitem__) if means else None


def _beside_paper(found: list[dict[str, Any]]) -> str:
    """What the paper says of STAFF, and what was found here of both figures."""
    rates = sorted({rate for each in found for rate in rates_of(each)})

    def gains(other: str, figure: str, wanted: list[float]) -> list[float]:
        """By how much STAFF is better; several rates of a task and family count each."""
        means = []
        for each, rate in itertools.product(found, wanted):
            rival = _best(each, rate, figure) if other == "best" else other
            mean = rival and difference(each, "staff", rival, rate, figure)
            if mean:
                means.append(mean.value * BETTER[figure])
        return means

    def mean(values: list[float], figure: str) -> str:
        return f"{np.mean(values):+.{DIGITS[figure]}f} ({len(values)})" if values else "–"

    def share(values: list[float], *, above: bool) -> str:
        return f"{sum((value > 0) == above for value in values)} of {len(values)}"

    rows = [
        (
            "better than the best other, mean",
            "0.43 ROUGE-L",
            *(mean(gains("best", f, rates), f) for f in BETTER),
        )
    ]
    for rate in rates:
        said = "1.0 to 2.0, growing with the rate" if rate == rates[0] else ""
        rows.append(
            (
                f"better than random, {rate:.0%} removed",
                said,
                *(mean(gains("random", f, [rate]), f) for f in BETTER),
            )
        )
    rows += [
        (
            "above full data at 20% removed",
            "6 of 9",
            *(share(gains(FULL, f, [0.2]), above=True) for f in BETTER),
        ),
        (
            "below random",
            "5 of 18 (re-run)",
            *(share(gains("random", f, rates), above=False) for f in BETTER),
        ),
    ]
    return table(("STAFF (in brackets: of how many)", "paper", "here, loss, nats", "here, answers"), rows)


def _by_rate(found: dict[str, Any]) -> str:
    rates = rates_of(found)
    parts = [f"\n## {found['task'].capitalize()}, {found['family']}, by pruning rate"]
    for figure in BETTER:
        rows = [
            (label_of(arm), *(_mean(values_of(found, arm, rate, figure), figure) for rate in rates))
            for arm in arms_of([found])
        ]
        for arm in (FULL, NOTHING):
            said = _mean(values_of(found, arm, None, figure), figure)
            rows.append((f"*{label_of(arm)}*", *([said] * len(rates))))
        heading = (_figure_words(found, figure), *(f"{rate:.0%} removed" for rate in rates))
        parts += ["", table(heading, rows)]
    return "\n".join(parts)


def _by_family(found: list[dict[str, Any]]) -> str:
    rate = max((rate for each in found for rate in rates_of(each)), default=0.0)
    there = [each for each in found if rate in rates_of(each)]
    parts = [f"\n## {rate:.0%} removed, all families"]
    for figure, words in (("loss", "held-out loss, nats"), ("metric", "answers, 0 to 100")):
        rows = [
            (label_of(arm), *(_mean(values_of(each, arm, rate, figure), figure) for each in there))
            for arm in arms_of(there)
        ]
        rows += [
            (f"*{label_of(arm)}*", *(_mean(values_of(each, arm, None, figure), figure) for each in there))
            for arm in (FULL, NOTHING)
        ]
        parts += ["", table((words, *map(place_of, there)), rows)]
    parts.append("\nAnswers by ROUGE-L on docstrings and chat, by chrF on kazakh.")
    parts.append(FAMILIES_PICTURE)
    return "\n".join(parts)


def _differences(found: list[dict[str, Any]]) -> str:
    arms = [arm for arm in arms_of(found) if arm != "random"]
    parts = [
        "\n## Differences to random",
        "\nPaired by seed, with the 95 % interval; **bold** where it does not hold 0. Below 0 is better for"
        "\nthe loss, above 0 for the answers.",
    ]
    for figure, words in (("loss", "held-out loss, nats"), ("metric", "answers, 0 to 100")):
        rows = [
            (
                f"{place_of(each)}, {rate:.0%}",
                *(_difference(difference(each, arm, "random", rate, figure), figure) for arm in arms),
            )
            for each in found
            for rate in rates_of(each)
        ]
        parts += ["", table((words, *map(label_of, arms)), rows)]
    return "\n".join(parts)


def _costs(found: list[dict[str, Any]]) -> str:
    rows = []
    for each in found:
        seconds = each["selection_seconds"]
        full = [cell["seconds"]["train"] for cell in each["cells"] if cell["arm"] == FULL]
        own = [name for name in seconds if name not in ("small", "target")]
        whole = seconds["target"]
        rows.append(
            (
                place_of(each),
                *(f"{seconds[name]:.0f} s, {seconds[name] / whole:.0%}" for name in own),
                f"{whole:.0f} s",
                f"{np.mean(full):.0f} s" if full else "–",
                f"{each['verified']} of {each['samples']}",
            )
        )
    own = [name for name in found[0]["selection_seconds"] if name not in ("small", "target")]
    heading = (
        "", *(f"{label_of(name)}, and of the baselines'" for name in own),
        "baselines: target fine-tuned, all scored on it", "fine-tuning on the full data", "verified",
    )  # fmt: skip
    return "\n".join(
        [
            "\n## What selection cost",
            "\nWall time of the models that a selection needs, loading counted; other work ran beside, so"
            "\nlittle more than the order holds. On 600 rows STAFF verifies a sixth of the data; on larger"
            "\ndata its share falls ([overhead.md](overhead.md)).",
            "",
            table(heading, rows),
        ]
    )


def _mean(values: Values, figure: str) -> str:
    if not values:
        return "–"
    mean = mean_over_seeds(list(values.values()))
    digits = DIGITS[figure]
    half = "" if mean.seeds < 2 else f" ± {mean.high - mean.value:.{digits}f}"
    return f"{mean.value:.{digits}f}{half}"


def _difference(mean: Mean | None, figure: str) -> str:
    if mean is None:
        return "–"
    digits = DIGITS[figure]
    said = f"{mean.value:+.{digits}f}"
    if mean.seeds > 1:
        said += f" ({mean.low:+.{digits}f} to {mean.high:+.{digits}f})"
    return f"**{said}**" if mean.seeds > 1 and mean.tells else said
