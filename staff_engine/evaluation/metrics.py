"""How near a generated answer is to the reference: ROUGE-L or chrF, by their own packages."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np

Metric = Literal["rouge-l", "chrf"]

METRIC_WORDS: dict[Metric, str] = {"rouge-l": "ROUGE-L", "chrf": "chrF"}
"""Their names as they are written."""


def choose_metric(references: Sequence[str]) -> Metric:
    """ROUGE-L, or chrF where most letters of the references are not Latin.

    rouge-score splits text at all that is neither a to z nor a digit, so that it sees
    nothing of other scripts; chrF compares characters.
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
        0 to 100, higher is nearer.
    """
    score = _rouge_l() if metric == "rouge-l" else _chrf()
    return np.array([score(*pair) for pair in zip(answers, references, strict=True)], dtype=np.float64)


def _rouge_l() -> Callable[[str, str], float]:
    from rouge_score.rouge_scorer import RougeScorer

    scorer = RougeScorer(["rougeL"], use_stemmer=False)
    return lambda answer, reference: 100 * scorer.score(reference, answer)["rougeL"].fmeasure


def _chrf() -> Callable[[str, str], float]:
    from sacrebleu.metrics.chrf import CHRF

    scorer = CHRF()
    return lambda answer, reference: float(scorer.sentence_score(answer, [reference]).score)
