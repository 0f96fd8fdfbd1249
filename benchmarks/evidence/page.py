"""The page on how coresets train, from the file of `benchmarks.evidence`."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from typing import Any

import numpy as np

from benchmarks.machine import table, written_by
from staff_engine.evaluation.cells import FULL, NOTHING, label_of
from staff_engine.evaluation.metrics import METRICS
from staff_engine.evaluation.report import Mean, mean_over_seeds, paired_difference
from staff_engine.selection.baselines.candidates import BETA
from staff_engine.selection.baselines.ccs import CCS_STRATA

BASELINES = ("random", "grand", "el2n", "ccs", "d2")
BETTER = {"loss": -1, "metric": 1}
"""Sign of an improvement."""
DIGITS = {"loss": 3, "metric": 1}

Values = dict[int, float]
"""A figure of each seed."""

HEAD = """# Evidence: how coresets train

After reading this page, you know how coresets of STAFF and of five other methods train on three tasks and
three model families. [Evaluate a coreset](../use/evaluation.md) explains how to measure this with your own
data.

{written}
{cells}

- **Data and models.** The data is the first {limit} training rows of each task. The small model is the nano
  of a family, the target its mini. K = {strata}, b_v = {verify_per_stratum}.
- **A cell** is the target, fine-tuned with LoRA on one coreset for {epochs} epochs. All coresets have equal
  epochs, so a smaller coreset takes fewer steps. The target is then evaluated on {held_out_samples}
  held-out samples: their loss, and, for {answers} of them, the score of greedily generated answers.
- **Seeds.** There are {seeds} seeds. Each applies to the selection and to the fine-tuning on it. The scores
  come from one fine-tuning. Values are means, with the half width of their 95 % interval over the seeds
  (Student's t).
- **Methods.** GraNd, EL2N, CCS and D2 use the scores of the target, fine-tuned on all rows, as in the
  paper. *STAFF, target tuned* fine-tunes the target on {tune_target} rows before it verifies others. CCS
  has K = {ccs_strata}, as in its paper. CCS and D2 drop the hardest {beta:.0%}, as STAFF does.
"""

RATES_PICTURE = """
## By pruning rate

![Held-out loss and answers by pruning rate, one line per method](evidence_rates.svg)

Points are means over the seeds. The tables below have the intervals."""

FAMILIES_PICTURE = """
![Difference of each method from random with its interval, for each task and family](evidence_families.svg)

The chart shows the difference of each method from random, paired by seed, with its 95 % interval."""

PAPER = """
## Comparison with the paper

The paper (Zhang et al., ICLR 2025) fine-tunes models a thousand times as large, on tasks with tens of
thousands of samples. Its values, and those of an independent re-run, are quoted from secondary sources, not
from the original tables. *Best baseline* is the best of the five baselines in each case, chosen after the
fact. The sizes differ, so compare only the ranking of the methods. By the intervals above, most differences
here are not significant. The number of cases is in brackets.

{figures}
"""


def page(content: dict[str, Any]) -> str:
    """The text of the measured page, from the content of its JSON file."""
    found = content["evaluations"]
    there = sum(len(each["cells"]) for each in found)
    planned = content["planned"]
    head = HEAD.format(
        written=written_by(content, "evidence.json"),
        cells=f"All {planned} cells are complete."
        if there == planned
        else f"{there} of {planned} cells are complete. The same command computes the missing ones.",
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
    """The paired difference of two arms at a rate; None if they share no seed."""
    other_rate = None if other == FULL else rate
    return paired_difference(values_of(found, arm, rate, figure), values_of(found, other, other_rate, figure))


def verdict(mean: Mean | None, figure: str) -> str:
    """ "better" or "worse" if the difference is significant, else "even"; "" without an interval."""
    if mean is None or mean.seeds < 2:
        return ""
    if not mean.tells:
        return "even"
    return "better" if mean.value * BETTER[figure] > 0 else "worse"


def arms_of(found: Iterable[dict[str, Any]]) -> list[str]:
    """The arms that select, STAFF's first."""
    names = dict.fromkeys(cell["arm"] for each in found for cell in each["cells"])
    own = [name for name in names if name not in (NOTHING, FULL, *BASELINES)]
    return [*own, *(name for name in BASELINES if name in names)]


def rates_of(found: dict[str, Any]) -> list[float]:
    return sorted({cell["pruning_rate"] for cell in found["cells"]} - {None})


def place_of(found: dict[str, Any]) -> str:
    """The task and the family of an evaluation, in words."""
    return f"{found['task']}, {found['family']}"


def _figure_words(found: dict[str, Any], figure: str) -> str:
    return "held-out loss, nats" if figure == "loss" else f"{METRICS[found['metric']].label}, 0 to 100"


def _in_short(found: list[dict[str, Any]]) -> str:
    arms = [arm for arm in arms_of(found) if arm != "random"]
    lines = [
        "## Summary",
        "",
        "The table compares each method with random. A case is a task, a family and a rate. The table counts",
        "the cases in which the method is significantly better, not significantly different (*even*: the",
        "interval of the paired difference includes 0) and significantly worse.",
    ]
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
            f"Half of STAFF's intervals extend more than {median_reach(found, 'loss'):.3f} nats and"
            f" {median_reach(found, 'metric'):.1f} points to either side."
            " Differences smaller than that could not be detected.",
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
        "The next table compares STAFF with the best of the five baselines in each case. That baseline is",
        "chosen after the fact, which favours it. The last column compares STAFF at 20 % removed with the",
        "full data: the number of cases with a better mean, and in brackets the same three counts.",
    ]
    heading = (
        "",
        "best baseline: better, even, worse",
        "full data, 20 % removed: better mean (better, even, worse)",
    )
    return "\n".join([*lines, "", table(heading, rows)])


def beside_random(found: list[dict[str, Any]], arm: str, figure: str) -> list[Mean]:
    """The paired differences of an arm from random, one for each task, family and rate."""
    means = (difference(each, arm, "random", rate, figure) for each in found for rate in rates_of(each))
    return [mean for mean in means if mean is not None]


def tally(verdicts: Iterable[str]) -> tuple[int, int, int]:
    """Number of cases that are better, even and worse."""
    known = list(verdicts)
    better, even, worse = (known.count(word) for word in ("better", "even", "worse"))
    return better, even, worse


def median_reach(found: list[dict[str, Any]], figure: str) -> float:
    """Median half-width of STAFF's intervals of the difference from random: smaller differences are not
    significant."""
    return float(np.median([mean.high - mean.value for mean in beside_random(found, "staff", figure)]))


def _tally(verdicts: Iterable[str]) -> str:
    return ", ".join(map(str, tally(verdicts)))


def _beside_best(found: dict[str, Any], arm: str, rate: float, figure: str) -> str:
    best = _best(found, rate, figure)
    return verdict(difference(found, arm, best, rate, figure), figure) if best else ""


def _best(found: dict[str, Any], rate: float, figure: str) -> str | None:
    """The best baseline at a rate; None if there is none."""
    means = {}
    for other in BASELINES:
        values = values_of(found, other, rate, figure)
        if values:
            means[other] = float(np.mean(list(values.values()))) * BETTER[figure]
    return max(means, key=means.__getitem__) if means else None


def _beside_paper(found: list[dict[str, Any]]) -> str:
    """The paper's results for STAFF, and the results here for both figures."""
    rates = sorted({rate for each in found for rate in rates_of(each)})

    def gains(other: str, figure: str, wanted: list[float]) -> list[float]:
        """The improvement by STAFF. Each rate of a task and family counts separately."""
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
            "gain over the best baseline, mean",
            "0.43 ROUGE-L",
            *(mean(gains("best", f, rates), f) for f in BETTER),
        )
    ]
    for rate in rates:
        said = "1.0 to 2.0, growing with the rate" if rate == rates[0] else ""
        rows.append(
            (
                f"gain over random, {rate:.0%} removed",
                said,
                *(mean(gains("random", f, [rate]), f) for f in BETTER),
            )
        )
    rows += [
        (
            "better than the full data, 20% removed",
            "6 of 9",
            *(share(gains(FULL, f, [0.2]), above=True) for f in BETTER),
        ),
        (
            "worse than random",
            "5 of 18 (re-run)",
            *(share(gains("random", f, rates), above=False) for f in BETTER),
        ),
    ]
    return table(("STAFF", "paper", "here, loss, nats", "here, answers"), rows)


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
    parts.append("\nThe metric of the answers is ROUGE-L on docstrings and chat, and chrF on kazakh.")
    parts.append(FAMILIES_PICTURE)
    return "\n".join(parts)


def _differences(found: list[dict[str, Any]]) -> str:
    arms = [arm for arm in arms_of(found) if arm != "random"]
    parts = [
        "\n## Differences from random",
        "\nDifferences are paired by seed and shown with their 95 % interval. **Bold** means that the"
        "\ninterval does not include 0. For the loss, a difference below 0 is better. For the answers, a"
        "\ndifference above 0 is better.",
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
        "", *(f"{label_of(name)}: time, share of the baselines' time" for name in own),
        "baselines: fine-tuning the target and scoring all rows", "fine-tuning on the full data", "verified",
    )  # fmt: skip
    return "\n".join(
        [
            "\n## Cost of the selection",
            "\nThe table has the wall time of the models that a selection needs, including loading. Other"
            "\nwork ran on the machine, so little more than the ranking is reliable. On 600 rows STAFF"
            "\nverifies a sixth of the data. On larger data this share is smaller"
            "\n([overhead.md](overhead.md)).",
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
