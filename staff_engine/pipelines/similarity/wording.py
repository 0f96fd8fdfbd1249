"""The results of a similarity run, in words."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

from staff_engine.models.loading import short_name
from staff_engine.pipelines.similarity.report import Pair, Reading, Report, Score
from staff_engine.selection.trust import Trust
from staff_engine.system.words import listed, number

HARDLY = 0.2
"""Rank correlations closer to 0 than this count as none."""

_SENTENCES = {
    "high": "{smalls} can be used for {target}: reliability is high ({figures}).",
    "fair": "{smalls} can be used for {target} with caution: reliability is fair ({figures}).",
    "low": "{smalls} should not be used for {target}: reliability is low ({figures}).",
}

OLDER = (
    "This run was made by an older version, which did not hold response length constant. Its ratings rest on"
    " the plain rank correlation, of which length can explain a large part."
)
"""What to know of a run whose report lacks the correlations with response length held."""


def labels(readings: Sequence[Reading]) -> dict[Reading, str]:
    """A unique name for each reading: short if possible, else with folder, then with role."""
    models = list(dict.fromkeys((each.role, each.model) for each in readings))
    names = {model: short_name(model[1]) for model in models}
    for longer in (lambda model: model[1], lambda model: f"{model[1]} ({model[0]})"):
        shared = {name for name, count in Counter(names.values()).items() if count > 1}
        names = {model: longer(model) if name in shared else name for model, name in names.items()}
    return {each: f"{names[each.role, each.model]}, {state_of(each)}" for each in readings}


def state_of(reading: Reading) -> str:
    """The state of the model, in a word."""
    return "fine-tuned" if reading.tuned_on else "untouched"


def pairs_of(report: Report, score: Score, *, tuned: bool) -> list[Pair]:
    """The pairs by one score, with their targets fine-tuned or untouched."""
    return [pair for pair in report.pairs if pair.score == score and (pair.target.tuned_on > 0) == tuned]


def for_target(report: Report, model: str) -> Report:
    """The report with the pairs of one target only, in all of its states."""
    return report.model_copy(
        update={"pairs": tuple(pair for pair in report.pairs if pair.target.model == model)}
    )


def trust_of(report: Report, pair: Pair) -> Trust | None:
    """The rating of a pair; None by loss and for an untouched small model, which are not rated."""
    wanted = (pair.target, pair.small, pair.score)
    found = (each.trust for each in report.verdicts if (each.target, each.small, each.score) == wanted)
    return next(found, None)


def conclusion(report: Report, score: Score, *, tuned: bool) -> list[str]:
    """Which small model can be used for which target: a sentence for each target and rating."""
    rated = [
        (pair, trust)
        for pair in pairs_of(report, score, tuned=tuned)
        if (trust := trust_of(report, pair)) is not None
    ]
    if not rated:
        return [
            "There is no rating by loss, because a run selects by effort by default. The figures show how"
            " similar the losses are."
        ]
    targets = dict.fromkeys(pair.target for pair, _ in rated)
    return [
        sentence
        for target in targets
        for sentence in _of_target(target, [each for each in rated if each[0].target == target])
    ]


def _of_target(target: Reading, rated: Sequence[tuple[Pair, Trust]]) -> list[str]:
    name = short_name(target.model)
    pairs = {word: [pair for pair, trust in rated if trust.word == word] for word in _SENTENCES}
    if len(pairs["low"]) == len(rated) > 1:
        return [
            f"None of these small models should be used for {name}: reliability is low"
            f" ({figures_of(pairs['low'])})."
        ]
    return [
        sentence.format(
            smalls=listed([short_name(pair.small.model) for pair in pairs[word]]),
            target=name,
            figures=figures_of(pairs[word]),
        )
        for word, sentence in _SENTENCES.items()
        if pairs[word]
    ]


def figures_of(pairs: Sequence[Pair]) -> str:
    """The rank correlations of some pairs, without and with response length held."""
    plain = _span([pair.likeness.spearman.value for pair in pairs])
    held = [pair.likeness.held.value for pair in pairs if pair.likeness.held is not None]
    without = f"rank correlation {plain}"
    return f"{without}; {_span(held)} with response length held" if held else without


def _span(values: Sequence[float]) -> str:
    """The range of the finite values: "0.21" or "0.21 to 0.34"; a dash if there are none."""
    finite = [value for value in values if math.isfinite(value)]
    ends = dict.fromkeys(number(value) for value in (min(finite), max(finite))) if finite else ["–"]
    return " to ".join(ends)


def advice(report: Report, score: Score, *, tuned: bool) -> list[str]:
    """Advice for pairs of low reliability, without repetitions; empty if there are none."""
    shown = (trust_of(report, pair) for pair in pairs_of(report, score, tuned=tuned))
    return list(dict.fromkeys(line for trust in shown if trust for line in trust.advice))


def lengths_in_words(report: Report, score: Score) -> str:
    """Whether a score is correlated with the response length, in a sentence or two."""
    why = "Loss and effort are means over a response's tokens, which favours short answers"
    values = [each.correlation.value for each in report.lengths if each.score == score]
    values = [value for value in values if math.isfinite(value)]
    if not values:
        return f"{why}. Here there are too few samples, or they are too similar, to measure this."
    what = score.partition(",")[0]
    falls, rises = sum(value <= -HARDLY for value in values), sum(value >= HARDLY for value in values)
    span = f"rank correlation {_span(values)}"
    many = f"of {len(values)} readings ({span})"
    if falls > max(rises, len(values) // 2):
        return f"{why}. Here longer responses have a lower {what} in {falls} {many}."
    if rises > max(falls, len(values) // 2):
        return f"{why}. Here it is the opposite: longer responses have a higher {what} in {rises} {many}."
    if falls or rises:
        return f"{why}. Here the models differ: longer responses have a lower {what} in {falls} {many}."
    return f"{why}. Here the {what} is hardly correlated with the length ({span})."
