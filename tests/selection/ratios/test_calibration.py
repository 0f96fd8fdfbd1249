import numpy as np
import pytest

from staff_engine import draw_verification, select_coreset
from staff_engine.selection.ratios.calibration import FEWEST_FITTED, calibrate, follows_score
from staff_engine.selection.strata import stratify
from staff_engine.selection.verification import verification_ratios

STRATA = 20


def drawn(count=3000, *, exponent=1.0, noise=0.5, harder=None, per_stratum=10, seed=0):
    """Ratios of made-up models: the target's score is a power of the small model's, with noise."""
    rng = np.random.default_rng(seed)
    scores = rng.lognormal(sigma=0.7, size=count)
    target = 3 * scores**exponent * rng.lognormal(sigma=noise, size=count)
    strata = stratify(scores, num_strata=STRATA, by="quantile")
    if harder is not None:
        target = np.where(strata.labels == harder, 4 * target, target)
    ids = draw_verification(
        scores, num_strata=STRATA, strata_by="quantile", per_stratum=per_stratum, drop_hardest=0.0, seed=seed
    )
    return verification_ratios(strata, scores, ids, target[ids])


def test_the_prediction_is_the_least_squares_line_of_the_logarithms():
    paper = drawn(exponent=0.4)
    found = calibrate(paper)
    slope, _ = np.polyfit(np.log(paper.speculative), np.log(paper.verification), 1)
    expected = paper.speculative**slope
    expected *= paper.verification.sum() / expected.sum()
    np.testing.assert_allclose(found.speculative, expected)


@pytest.mark.parametrize("exponent", [0.0, 0.3, 0.6, 1.0])
def test_models_that_agree_imperfectly_have_ratios_near_1_where_the_papers_fall_with_the_score(exponent):
    paper = drawn(exponent=exponent)
    calibrated = calibrate(paper)
    assert np.abs(np.log(calibrated.values)).max() < 0.3
    if exponent < 1:
        assert paper.values[0] / paper.values[-1] > 2 ** (1 - exponent)


def test_a_stratum_that_the_target_finds_harder_than_predicted_stands_out():
    calibrated = calibrate(drawn(exponent=0.3, harder=4))
    others = np.delete(calibrated.values, 4)
    assert calibrated.values[4] > 1.7 > 1.3 > others.max()


def test_shrinkage_draws_toward_1_and_more_where_less_is_verified():
    raw, values = [], []
    for per_stratum in (2, 50):
        paper = drawn(harder=4, per_stratum=per_stratum)
        found = calibrate(paper)
        sums = [np.bincount(found.strata, part)[4] for part in (found.verification, found.speculative)]
        raw.append(np.log(sums[0] / sums[1]))
        values.append(np.log(found.values[4]))
    assert 0 < values[0] < raw[0] and 0 < values[1] < raw[1]
    assert values[0] / raw[0] < values[1] / raw[1]


def test_where_nothing_surprises_every_ratio_is_1():
    ones = [calibrate(drawn(exponent=0.5, noise=0.4, seed=seed)).values for seed in range(20)]
    assert np.mean([np.allclose(values, 1) for values in ones]) > 0.4
    assert np.abs(np.log(ones)).mean() < 0.05


@pytest.mark.parametrize("count", [0, 1, FEWEST_FITTED - 1])
def test_with_few_verified_samples_every_ratio_is_1_and_there_is_no_interval(count):
    scores = np.random.default_rng(0).lognormal(size=200)
    strata = stratify(scores, num_strata=4)
    found = calibrate(verification_ratios(strata, scores, np.arange(count), scores[:count] ** 2))
    assert found.values.tolist() == [1] * 4
    assert np.isnan(found.intervals()).all()


def test_scores_of_0_and_equal_scores_do_not_break_it():
    scores = np.r_[np.zeros(50), np.ones(50)]
    target = np.r_[np.full(50, 3.0), np.zeros(50)]
    strata = stratify(scores, num_strata=2)
    found = calibrate(verification_ratios(strata, scores, np.arange(100), target))
    assert np.isfinite(found.values).all() and (found.values >= 0).all()
    same = calibrate(verification_ratios(stratify(np.ones(30)), np.ones(30), np.arange(30), np.ones(30)))
    assert same.values.tolist() == [1]


def test_a_target_that_knows_nothing_of_the_small_models_score_is_recognised():
    assert follows_score(drawn(exponent=0.0, noise=0.3)) > 0.8
    assert follows_score(drawn(exponent=1.0, noise=0.3)) < 0.5
    assert follows_score(drawn(exponent=2.0, noise=0.1)) == 0.0  # the ratio rises with the score


def test_the_coreset_warns_of_such_a_target_and_calibrated_ratios_leave_it_out():
    rng = np.random.default_rng(0)
    scores = rng.lognormal(sigma=0.7, size=3000)
    ids = draw_verification(scores, num_strata=STRATA, strata_by="quantile")
    target = rng.lognormal(sigma=0.3, size=len(ids))
    settings = {"pruning_rate": 0.9, "num_strata": STRATA, "strata_by": "quantile"}
    paper, calibrated = (
        select_coreset(scores, ids, target, ratio=ratio, allocation="proportional", **settings)
        for ratio in ("paper", "calibrated")
    )
    assert any("1/score explains" in warning for warning in paper.warnings)
    assert not any("1/score explains" in warning for warning in calibrated.warnings)
    assert paper.budget[0] > 2 * calibrated.budget[0]
    np.testing.assert_array_equal(calibrated.paper_ratios, paper.ratios)
