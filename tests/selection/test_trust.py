"""The rating of a small model, and the advice if the rating is low."""

import numpy as np
import pytest

from staff_engine.errors import PlanError
from staff_engine.selection.agreement import Agreement, rank_agreement
from staff_engine.selection.trust import judge_trust


def judged(spearman, low, high=0.9, *, samples=60, epochs=3, scored_parameters="all"):
    agreement = Agreement(samples, spearman, low, high, spearman)
    return judge_trust(agreement, epochs=epochs, scored_parameters=scored_parameters)


@pytest.mark.parametrize(
    ("spearman", "low", "word"),
    [
        (1.0, 1.0, "high"),
        (0.7, 0.5, "high"),
        (0.7, 0.49, "fair"),
        (0.69, 0.6, "fair"),
        (0.4, -0.2, "fair"),
        (0.39, 0.3, "low"),
        (-0.8, -0.9, "low"),
    ],
)
def test_the_word_follows_the_correlation_and_for_high_also_its_interval(spearman, low, word):
    assert judged(spearman, low).word == word


def test_the_sentence_is_that_of_the_agreement_with_the_numbers():
    sentence = judged(0.553, 0.417, 0.661, samples=1234).sentence
    assert sentence.startswith(Agreement(1234, 0.553, 0.417, 0.661, 0.5).sentence)
    assert "0.55 (95 % interval 0.42 to 0.66) over 1,234 samples that both models scored" in sentence


def test_the_word_rests_on_the_correlation_with_length_held_and_the_sentence_has_both():
    agreement = Agreement(500, 0.91, 0.89, 0.92, 0.9, 0.23, 0.14, 0.31)
    trust = judge_trust(agreement, epochs=3, scored_parameters="all")
    assert trust.word == "low"
    assert "0.91 (95 % interval 0.89 to 0.92), of which length explains most" in trust.sentence
    assert "0.23 with response length held (95 % interval 0.14 to 0.31)" in trust.sentence
    alike = judge_trust(
        Agreement(500, 0.91, 0.89, 0.92, 0.9, 0.8, 0.7, 0.9), epochs=3, scored_parameters="all"
    )
    assert alike.word == "high" and "explains most" not in alike.sentence


def test_models_that_saw_the_same_lengths_and_nothing_else_are_not_trusted():
    generator = np.random.default_rng(0)
    lengths = generator.integers(5, 200, 500).astype(float)
    first, second = (generator.lognormal(sigma=0.15, size=500) / np.sqrt(lengths) for _ in range(2))
    agreement = rank_agreement(first, second, lengths=lengths)
    assert agreement.spearman > 0.7 and agreement.low > 0.5  # "high" by the plain correlation
    assert judge_trust(agreement, epochs=3, scored_parameters="all").word == "low"


def test_only_low_trust_comes_with_advice_and_it_names_the_plan_s_own_values():
    assert judged(0.9, 0.8).advice == judged(0.5, 0.3).advice == ()
    advice = " ".join(judged(0.1, 0.0, epochs=1, scored_parameters="last_block").advice)
    assert "more than 1 epoch." in advice
    assert "all instead of last_block" in advice
    assert "last_block instead of all" in " ".join(judged(0.1, 0.0).advice)


def test_tuning_the_target_is_advised_where_it_was_not_done():
    agreement = Agreement(60, 0.1, 0.0, 0.2, 0.1)
    advice = [
        " ".join(judge_trust(agreement, epochs=3, scored_parameters="all", target_tuned=tuned).advice)
        for tuned in (False, True)
    ]
    assert ["tune_target" in each for each in advice] == [True, False]


@pytest.mark.parametrize("count", [0, 1, 2])
def test_too_few_samples_are_no_reason_to_trust(count):
    trust = judge_trust(rank_agreement(np.arange(count), np.arange(count)), epochs=3, scored_parameters="all")
    assert trust.word == "low"
    assert trust.sentence.startswith(f"{count} samples scored by both models are too few")
    assert trust.advice == ("Verify more samples in each stratum.",)


def test_equal_scores_are_no_reason_to_trust():
    trust = judge_trust(rank_agreement(np.ones(30), np.arange(30.0)), epochs=3, scored_parameters="all")
    assert trust.word == "low"


def test_unknown_scored_parameters_are_an_error():
    with pytest.raises(PlanError, match="scored_parameters is 'head'; allowed: all, last_block"):
        judged(0.1, 0.0, scored_parameters="head")
