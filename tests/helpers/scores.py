"""Made-up scores: lists of any scores for property tests, and heavy-tailed ones with ties and holes."""

import hypothesis.strategies as st
import numpy as np

NAN = float("nan")

SCORES = st.floats(0) | st.floats(0, 100) | st.sampled_from([-0.0, 0.0, 0.5, 1.0, 3.0, NAN, float("inf")])
SAMPLES = st.lists(SCORES, min_size=1, max_size=60).map(np.array).filter(lambda s: np.isfinite(s).any())


def lognormal(count, seed=0):
    return np.random.default_rng(seed).lognormal(size=count)


def with_ties_and_holes(count):
    """Heavy-tailed, every third score in a crowd of equal ones, some rows without a score."""
    scores = lognormal(count)
    scores[::3] = np.round(scores[::3], 1)
    scores[5::97] = NAN
    scores[11::997] = np.inf
    return scores
