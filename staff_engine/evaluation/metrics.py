"""How similar a generated answer is to its reference: ROUGE-L or chrF, from their own packages."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

Metric = Literal["rouge-l", "chrf"]

Scorer = Callable[[str, str], float]
"""An answer and its reference → 0 to 100; higher is more similar."""


def choose_metric(references: Sequence[str]) -> Metric:
    """ROUGE-L, or chrF if most letters of the references are not Latin.

    rouge-score keeps only a to z and digits, so it ignores other scripts. chrF compares characters.
    """
    letters = [letter for text in references for letter in text if letter.isalpha()]
    latin = sum(unicodedata.name(letter, "").startswith("LATIN") for letter in letters)
    return "chrf" if latin < len(letters) - latin else "rouge-l"


def score_answers(metric: Metric, answers: Sequence[str], references: Sequence[str]) -> np.ndarray:
    """Compare each answer with its reference.

    Parameters
    ----------
    metric
        "rouge-l" is the F-measure of the longest common subsequence of words, without
        stemming (package rouge-score); "chrf" is sentence chrF2 (package sacrebleu).

    Returns
    -------
    float (n,)
        0 to 100; higher is more similar.
    """
    score = METRICS[metric].scorer()
    return np.array([score(*pair) for pair in zip(answers, references, strict=True)], dtype=np.float64)


def _rouge_l() -> Scorer:
    from rouge_score.rouge_scorer import RougeScorer

    scorer = RougeScorer(["rougeL"], use_stemmer=False)
    return lambda answer, reference: 100 * scorer.score(reference, answer)["rougeL"].fmeasure


def _chrf() -> Scorer:
    from sacrebleu.metrics.chrf import CHRF

    scorer = CHRF()
    return lambda answer, reference: float(scorer.sentence_score(answer, [reference]).score)


@dataclass(frozen=True)
class MetricKind:
    """A metric for answers."""

    label: str
    """Name for display."""
    package: str
    """The package that computes it, by its name for pip."""
    scorer: Callable[[], Scorer]
    """Imports the package and returns the scoring function."""


METRICS: dict[Metric, MetricKind] = {
    "rouge-l": MetricKind("ROUGE-L", "rouge-score", _rouge_l),
    "chrf": MetricKind("chrF", "sacrebleu", _chrf),
}
"""All metrics. `EvaluationPlan.metric` allows these and "auto"."""
