"""What a similarity run found, in words."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence

from staff_engine.models.loading import short_name
from staff_engine.pipelines.similarity.report import Pair, Reading, Report, Score, Verdict
from staff_engine.selection.trust import Trust
from staff_engine.system.words import listed, number

HARDLY = 0.2
"""Rank correlations nearer to 0 than this are called none."""

_SAID = {
    "high": "{smalls} may speak for {target} (trust is high).",
    "fair": "{smalls} may speak for {target} with care (trust is fair).",
    "low": "{smalls} should not speak for {target} (trust is low).",
}


def labels(readings: Sequence[Reading]) -> dict[Reading, str]:
    """A name for each reading, no two alike: short where that will do, else with folder, then with role."""
    models = list(dict.fromkeys((each.role, each.model) for each in readings))
    names = {model: short_name(model[1]) for model in models}
    for longer in (lambda model: model[1], lambda model: f"{model[1]} ({model[0]})"):
        shared = {name for name, count in Counter(names.values()).items() if count > 1}
        names = {model: longer(model) if name in shared else name for model, name in names.items()}
    return {each: f"{names[each.role, each.model]}, {state_of(each)}" for each in readings}


def state_of(reading: Reading) -> str:
    """In which state a model was read, in a word."""
    return "fine-tuned" if reading.tuned_on else "untouched"


def pairs_of(report: Report, score: Score, *, tuned: bool) -> list[Pair]:
    """The pairs by one score, with their targets fine-tuned or untouched."""
    return [pair for pair in report.pairs if pair.score == score and (pair.target.tuned_on > 0) == tuned]


def trust_of(report: Report, pair: Pair) -> Trust | None:
    """The verdict on a pair; None where none is given: by loss, and for an untouched small model."""
    wanted = (pair.target, pair.small, pair.score)
    found = (each.trust for each in report.verdicts if (each.target, each.small, each.score) == wanted)
    return next(found, None)


def conclusion(report: Report, score: Score, *, tuned: bool) -> list[str]:
    """Which small model may speak for which target: a sentence for each target and word of trust."""
    verdicts = [
        each for each in report.verdicts if each.score == score and (each.target.tuned_on > 0) == tuned
    ]
    if not verdicts:
        return [
            "By loss no verdict is given, since a run selects by effort; the figures say how alike the losses"
            " are."
        ]
    targets = dict.fromkeys(each.target for each in verdicts)
    return [sentence for target in targets for sentence in _of_target(target, verdicts)]


def _of_target(target: Reading, verdicts: Iterable[Verdict]) -> list[str]:
    mine = [each for each in verdicts if each.target == target]
    smalls = {
        word: [short_name(each.small.model) for each in mine if each.trust.word == word] for word in _SAID
    }
    name = short_name(target.model)
    if len(smalls["low"]) == len(mine) > 1:
        return [f"None of these small models should speak for {name} (trust is low)."]
    return [
        said.format(smalls=listed(smalls[word]), target=name)
        for word, said in _SAID.items()
        if smalls[word]
    ]  # fmt: skip


def advice(report: Report, score: Score, *, tuned: bool) -> list[str]:
    """What can help where trust is low, each once; none where it is not."""
    shown = (trust_of(report, pair) for pair in pairs_of(report, score, tuned=tuned))
    return list(dict.fromkeys(line for trust in shown if trust for line in trust.advice))


def lengths_in_words(report: Report, score: Score) -> str:
    """Whether a score goes with the response length, in a sentence or two."""
    why = "Loss and effort are means over a response's tokens, which favours short answers"
    found = [each.correlation.value for each in report.lengths if each.score == score]
    found = [value for value in found if math.isfinite(value)]
    if not found:
        return f"{why}; there are too few samples here, or they are too alike, to see it."
    what = score.partition(",")[0]
    falls, rises = sum(value <= -HARDLY for value in found), sum(value >= HARDLY for value in found)
    span = f"rank correlation {number(min(found))} to {number(max(found))}"
    many = f"of {len(found)} readings ({span})"
    if falls > max(rises, len(found) // 2):
        return f"{why}: the longer a response, the lower its {what}, in {falls} {many}."
    if rises > max(falls, len(found) // 2):
        return f"{why}; here it is the other way round: long ones have a higher {what} in {rises} {many}."
    if falls or rises:
        return f"{why}; here the models differ: the {what} falls with the length in {falls} {many}."
    return f"{why}; here the {what} hardly goes with the length ({span})."
