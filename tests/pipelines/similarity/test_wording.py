import numpy as np
import pytest

from staff_engine.pipelines.similarity import wording as words
from staff_engine.pipelines.similarity.measures import Estimate, Likeness
from staff_engine.pipelines.similarity.report import Length, Pair, Reading, Report, Verdict
from staff_engine.selection.trust import Trust, judge_trust
from tests.helpers.made_similarity import make_report

TARGET = Reading(model="org/big", role="target", tuned_on=0)


def likeness_of(value, held=0.5):
    """Similar by a rank correlation, and by another one with response length held."""
    nothing = Estimate(np.nan, np.nan, np.nan)
    kept = None if held is None else Estimate(value * held, 0, 1)
    return Likeness(9, Estimate(value, 0, 1), *[nothing] * 5, kept)


def report_of(trusts=(), lengths=()):
    """A report with a verdict for each word of trust, or with these correlations with the length."""
    smalls = [Reading(model=f"org/small-{place}", role="small", tuned_on=9) for place in range(len(trusts))]
    verdicts = tuple(
        Verdict(target=TARGET, small=small, score="effort, all", trust=Trust(word, "", (f"help {word}",)))
        for small, word in zip(smalls, trusts, strict=True)
    )
    pairs = tuple(
        Pair(target=TARGET, small=small, score="effort, all", likeness=likeness_of(0.9 - 0.1 * place))
        for place, small in enumerate(smalls)
    )
    found = tuple(
        Length(reading=TARGET, score="loss", correlation=Estimate(value, value, value)) for value in lengths
    )
    return Report(
        samples=9, strata=4, readings=(*smalls, TARGET), pairs=pairs, ranks=(), lengths=found,
        verdicts=verdicts,
    )  # fmt: skip


def test_models_are_named_shortly_as_long_as_no_two_are_alike():
    readings = [
        Reading(model=model, role=role, tuned_on=tuned)
        for model, role, tuned in (
            ("org/one", "small", 0), ("org/one", "small", 5), ("builtin:two", "small", 0),
            ("a/same", "small", 0), ("b/same", "small", 0), ("builtin:two", "target", 0),
        )
    ]  # fmt: skip
    assert list(words.labels(readings).values()) == [
        "one, untouched", "one, fine-tuned", "builtin:two (small), untouched", "a/same, untouched",
        "b/same, untouched", "builtin:two (target), untouched",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("trusts", "sentences"),
    [
        (["high"], ["small-0 can be used for big: reliability is high (", "0.90; 0.45"]),
        (
            ["fair", "high", "low", "high", "high"],
            [
                "small-1, small-3 and small-4 can be used for big: reliability is high (",
                "0.50 to 0.80; 0.25 to 0.40",
                "small-0 can be used for big with caution: reliability is fair (",
                "0.90; 0.45",
                "small-2 should not be used for big: reliability is low (",
                "0.70; 0.35",
            ],
        ),
        (["low"], ["small-0 should not be used for big: reliability is low (", "0.90; 0.45"]),
        (
            ["low", "low"],
            [
                "None of these small models should be used for big: reliability is low (",
                "0.80 to 0.90; 0.40 to 0.45",
            ],
        ),
    ],
)
def test_the_conclusion_says_who_may_speak_for_whom(trusts, sentences):
    expected = [
        f"{start}rank correlation {figures} with response length held)."
        for start, figures in zip(sentences[::2], sentences[1::2], strict=True)
    ]
    assert words.conclusion(report_of(trusts), "effort, all", tuned=False) == expected


@pytest.mark.parametrize(
    ("values", "held", "text"),
    [
        ([0.9], None, "rank correlation 0.90"),
        ([0.9, 0.9], 0.1, "rank correlation 0.90; 0.09 with response length held"),
        ([0.9], np.nan, "rank correlation 0.90; – with response length held"),
    ],
)
def test_the_figures_are_said_as_far_as_they_were_measured(values, held, text):
    pairs = [
        report_of(["high"]).pairs[0].model_copy(update={"likeness": likeness_of(value, held)})
        for value in values
    ]
    assert words.figures_of(pairs) == text


def test_chat_is_not_rated_high_for_what_response_length_explains():
    trust = judge_trust(likeness_of(0.91, 0.25).agreement, epochs=3, scored_parameters="all")
    assert trust.word == "low"
    assert "0.91" in trust.sentence and "0.23 with response length held" in trust.sentence


def test_by_loss_no_verdict_is_given():
    assert "no rating by loss" in words.conclusion(report_of(["high"]), "loss", tuned=False)[0]


def test_pairs_and_their_trust_are_those_of_the_score_and_state_asked_for():
    report, _ = make_report()
    for tuned in (False, True):
        pairs = words.pairs_of(report, "effort, all", tuned=tuned)
        assert {(pair.score, pair.target.tuned_on > 0) for pair in pairs} == {("effort, all", tuned)}
        given = [words.trust_of(report, pair) is not None for pair in pairs]
        assert given == [pair.small.tuned_on > 0 for pair in pairs]


def test_advice_is_given_once_and_only_where_trust_is_low():
    report, _ = make_report(smalls=["near", "far", "farther"], noise=(0.1, 30))
    low = [each.trust for each in report.verdicts if each.trust.word == "low"]
    assert len(low) > 2
    assert words.advice(report, "effort, all", tuned=False) == list(low[0].advice)
    good, _ = make_report(smalls=["near"])
    assert words.advice(good, "effort, all", tuned=False) == []


@pytest.mark.parametrize(
    ("lengths", "said"),
    [
        ([-0.7, -0.3, 0.1], "Here longer responses have a lower loss in 2 of 3 readings"),
        ([0.3, 0.25, 0], "the opposite: longer responses have a higher loss in 2 of 3 readings"),
        ([-0.1, 0.1], "Here the loss is hardly correlated with the length (rank correlation −0.10 to 0.10)"),
        ([-0.4, 0.4], "Here the models differ: longer responses have a lower loss in 1 of 2 readings"),
        ([np.nan], "too few samples"),
    ],
)
def test_the_length_of_the_response_is_said_to_matter_or_not(lengths, said):
    sentence = words.lengths_in_words(report_of(lengths=lengths), "loss")
    assert sentence.startswith("Loss and effort are means over a response's tokens, which favours short")
    assert said in sentence


@pytest.mark.parametrize(("value", "text"), [(-0.004, "0.00"), (-0.5, "−0.50"), (np.nan, "–")])
def test_a_number_has_a_true_minus(value, text):
    assert words.number(value) == text
