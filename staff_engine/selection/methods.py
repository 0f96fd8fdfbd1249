"""STAFF and its baselines, by name: what each method reads, and how it selects a coreset."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from staff_engine.errors import PlanError
from staff_engine.selection.baselines.ccs import select_ccs
from staff_engine.selection.baselines.d2 import Graph, select_d2
from staff_engine.selection.baselines.moderate import select_moderate
from staff_engine.selection.baselines.ranked import select_el2n, select_grand, select_random


@dataclass(frozen=True, eq=False)
class ScoreTable:
    """What the methods read, by row id: float64 (N,) except the embedding, NaN where unscorable.

    A sample is scorable if its effort is finite, regardless of its other values. So every method
    selects the same number of samples, from the same samples.
    """

    effort: np.ndarray
    """Norm of the gradient, 0 or more; higher is harder."""
    el2n: np.ndarray
    """Mean error norm of the predictions, 0 to √2."""
    loss: np.ndarray
    """Mean loss of the response tokens, nats."""
    embedding: np.ndarray
    """float16 (N, h): last hidden state averaged over the tokens; 0 where unscorable."""
    source: Literal["small", "target"]
    """The model that computed the scores."""
    graphs: dict[tuple[int, int], Graph] = field(default_factory=dict, init=False, repr=False)
    """Nearest-neighbour graphs of D2, kept so that they can be used for other pruning rates."""


@dataclass(frozen=True)
class Method:
    """A method of selecting a coreset."""

    name: str
    label: str
    """Name for display."""
    sentence: str
    reads: Literal["nothing", "scores", "embedding", "both", "staff"]
    """What it needs from a `ScoreTable`; "staff": the results of the run instead."""
    draws: bool
    """Whether the coreset depends on the seed."""
    cuts: bool
    """Whether it leaves out the fraction β of the hardest samples."""
    choose: Callable[..., np.ndarray] | None
    """Returns row ids, int64 (m,), ascending, for a `ScoreTable`, `pruning_rate`, `seed` and, if it
    cuts, `beta`. None: use the selection of the run."""


METHODS = {
    method.name: method
    for method in (
        Method(
            "staff", "STAFF",
            "Draws from strata of the small model's effort, and more from strata that are harder for the"
            " target.",
            "staff", draws=True, cuts=False,
            choose=None,
        ),
        Method(
            "random", "Random",
            "Draws samples uniformly, without using scores.",
            "nothing", draws=True, cuts=False,
            choose=lambda table, **how: select_random(table.effort, **how),
        ),
        Method(
            "grand", "GraNd",
            "Keeps the samples with the highest effort (norm of the gradient).",
            "scores", draws=False, cuts=False,
            choose=lambda table, **how: select_grand(table.effort, **how),
        ),
        Method(
            "el2n", "EL2N",
            "Keeps the samples with the largest error of the predicted probabilities.",
            "scores", draws=False, cuts=False,
            choose=lambda table, **how: select_el2n(table.el2n, **how),
        ),
        Method(
            "ccs", "CCS",
            "Removes the hardest samples, then draws an equal number from each stratum of the effort.",
            "scores", draws=True, cuts=True,
            choose=lambda table, **how: select_ccs(table.effort, **how),
        ),
        Method(
            "d2", "D2",
            "Removes the hardest samples, then keeps samples that are hard and have hard neighbours; each"
            " kept sample lowers the rank of its neighbours.",
            "both", draws=False, cuts=True,
            choose=lambda table, **how: select_d2(table.effort, table.embedding, graphs=table.graphs, **how),
        ),
        Method(
            "moderate", "Moderate",
            "Keeps the samples whose distances to the median embedding are in the middle of all distances.",
            "embedding", draws=False, cuts=False,
            choose=lambda table, **how: select_moderate(table.effort, table.embedding, **how),
        ),
    )
}  # fmt: skip


def method_named(name: str) -> Method:
    """The method with this name. Raises PlanError if the name is unknown."""
    if name not in METHODS:
        raise PlanError(f"method is {name!r}; allowed: {', '.join(METHODS)}")
    return METHODS[name]


def needs_embedding(name: str) -> bool:
    """Whether a method reads embeddings. Raises PlanError if the name is unknown."""
    return method_named(name).reads in ("embedding", "both")
