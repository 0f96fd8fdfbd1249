"""Answers against their references, by the packages' measures; cases computed by hand."""

from typing import get_args

import pytest

from staff_engine.evaluation.metrics import METRICS, Metric, choose_metric, score_answers
from staff_engine.evaluation_plan import EvaluationPlan


def test_rouge_l_is_the_f_measure_of_the_longest_common_subsequence_of_words():
    # 3 of 5 answered words, 3 of 4 asked for: 2·(3/5)·(3/4) / (3/5 + 3/4) = 2/3
    found = score_answers("rouge-l", ["the cat is sat down"], ["The cat sat here."])
    assert found.tolist() == [pytest.approx(100 * 2 / 3)]


def test_chrf_is_the_mean_f2_over_character_groups_of_one_to_six():
    # "abc" for "abcd": of 1 to 3 letters 3/3 and 3/4, 2/2 and 2/3, 1/1 and 1/2; there is no longer group.
    def f2(precision, recall):
        return 5 * precision * recall / (4 * precision + recall)

    precision, recall = 1, (3 / 4 + 2 / 3 + 1 / 2) / 3
    assert score_answers("chrf", ["abc"], ["abcd"])[0] == pytest.approx(100 * f2(precision, recall))


@pytest.mark.parametrize("metric", ["rouge-l", "chrf"])
def test_the_same_is_100_and_nothing_is_0(metric):
    found = score_answers(metric, ["a few words", "", "zzz"], ["a few words", "a few words", "a few"])
    assert found.tolist() == [pytest.approx(100), 0, 0]


def test_other_scripts_are_measured_by_characters():
    assert choose_metric(["Return the number.", "12"]) == "rouge-l"
    assert choose_metric(["қазақ тілі", "English"]) == "chrf"
    assert choose_metric(["Größe", "élève"]) == "rouge-l"
    assert choose_metric([]) == "rouge-l"


def test_what_rouge_cannot_read_chrf_can():
    text = ["қазақ тілі"]
    assert score_answers("rouge-l", text, text)[0] == 0
    assert score_answers("chrf", text, text)[0] == pytest.approx(100)


def test_a_plan_allows_each_metric_that_there_is_and_auto():
    allowed = get_args(EvaluationPlan.model_fields["metric"].annotation)
    assert allowed == ("auto", *METRICS)
    assert get_args(Metric) == tuple(METRICS)


def test_a_metric_that_there_is_not_is_refused():
    with pytest.raises(KeyError, match="bleu"):
        score_answers("bleu", ["a"], ["a"])
