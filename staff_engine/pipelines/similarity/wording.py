"""The results of a similarity run, in words."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence

from staff_engine.models.sources import short_name
from staff_engine.pipelines.similarity.report import Pair, Reading, Report, Score, Verdict
from staff_engine.selection.trust import Trust
from staff_engine.system.words import listed, number

HARDLY = 0.2
"""Rank correlations closer to 0 than this count as none."""

_SENTENCES = {
    "high": "{smalls} can be used for {target} (reliability is high).",
    "fair": "{smalls} can be used for {target} with caution (reliability is fair).",
    "low": "{smalls} should not be used for {target} (reliability is low).",
}


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


def trust_of(report: Report, pair: Pair) -> Trust | None:
    """The rating of a pair; None by loss and for an untouched small model, which are not rated."""
    wanted = (pair.target, pair.small, pair.score)
    found = (each.trust for each in report.verdicts if (each.target, each.small, each.score) == wanted)
    return next(found, None)


def conclusion(report: Report, score: Score, *, tuned: bool) -> list[str]:
    """Which small model can be used for which target: a sentence for each target and rating."""
    verdicts = [
        each for each in report.verdicts if each.score == score and (each.target.tuned_on > 0) == tuned
    ]
    if not verdicts:
        return [
            "There is no rating by loss, because a run selects by effort. The figures show how similar the"
            " losses are."
        ]
    targets = dict.fromkeys(each.target for each in verdicts)
    return [sentence for target in targets for sentence in _of_target(target, verdicts)]


def _of_target(target: Reading, verdicts: Iterable[Verdict]) -> list[str]:
    mine = [each for each in verdicts if each.target == target]
    smalls = {
        word: [short_name(each.small.model) for each in mine if each.trust.word == word]
        for word in _SENTENCES
    }
    name = short_name(target.model)
    if len(smalls["low"]) == len(mine) > 1:
        return [f"None of these small models should be used for {name} (reliability is low)."]
    return [
        sentence.format(smalls=listed(smalls[word]), target=name)
        for word, sentence in _SENTENCES.items()
        if smalls[word]
    ]  # fmt: skip


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
    span = f"rank correlation {number(min(values))} to {number(max(values))}"
    many = f"of {len(values)} readings ({span})"
    if falls > max(rises, len(values) // 2):
        return f"{why}. Here longer responses have a lower {what} in {falls} {many}."
    if rises > max(falls, len(values) // 2):
        return f"{why}. Here it is the opposite: longer responses have a higher {what} in {rises} {many}."
    if falls or rises:
        return f"{why}. Here the models differ: longer responses have a lower {what} in {falls} {many}."
    return f"{why}. Here the {what} is hardly correlated with the length ({span})."
