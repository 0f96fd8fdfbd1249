"""STAFF and what it is measured against, by name: what each reads, and how it chooses."""

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
    """What the methods read, by row id; float64 (N,) but for the embedding, NaN where unscorable.

    A sample is scorable where its effort is a number, whatever else is known of it: so every
    method takes as many samples, from the same ones.
    """

    effort: np.ndarray
    """Norm of the gradient, 0 or more, higher is harder."""
    el2n: np.ndarray
    """Mean error norm of the predictions, 0 to √2."""
    loss: np.ndarray
    """Mean loss of the response tokens, nats."""
    embedding: np.ndarray
    """float16 (N, h): last hidden state averaged over the tokens; 0 where unscorable."""
    source: Literal["small", "target"]
    """Whose scores they are."""
    graphs: dict[tuple[int, int], Graph] = field(default_factory=dict, init=False, repr=False)
    """What D2 has found of nearest neighbours, so that another pruning rate need not look again."""


@dataclass(frozen=True)
class Method:
    """A way to choose a coreset."""

    name: str
    label: str
    """What people call it."""
    sentence: str
    reads: Literal["nothing", "scores", "embedding", "both", "staff"]
    """What it needs of a `ScoreTable`; "staff": the run's own results instead."""
    draws: bool
    """Whether another seed gives another coreset."""
    cuts: bool
    """Whether it leaves the hardest out, by β."""
    choose: Callable[..., np.ndarray] | None
    """Row ids, int64 (m,), ascending, given a `ScoreTable`, `pruning_rate`, `seed` and, if it cuts,
    `beta`; None: the run's own selection."""


METHODS = {
    method.name: method
    for method in (
        Method(
            "staff", "STAFF",
            "Draws from strata of the small model's effort, more where the target finds more.",
            "staff", draws=True, cuts=False,
            choose=None,
        ),
        Method(
            "random", "Random",
            "Draws without looking at scores.",
            "nothing", draws=True, cuts=False,
            choose=lambda table, **how: select_random(table.effort, **how),
        ),
        Method(
            "grand", "GraNd",
            "Takes the greatest effort, the norm of the gradient.",
            "scores", draws=False, cuts=False,
            choose=lambda table, **how: select_grand(table.effort, **how),
        ),
        Method(
            "el2n", "EL2N",
            "Takes the greatest error of the predicted probabilities.",
            "scores", draws=False, cuts=False,
            choose=lambda table, **how: select_el2n(table.el2n, **how),
        ),
        Method(
            "ccs", "CCS",
            "Cuts the hardest, then draws as many from each stratum of the effort.",
            "scores", draws=True, cuts=True,
            choose=lambda table, **how: select_ccs(table.effort, **how),
        ),
        Method(
            "d2", "D2",
            "Cuts the hardest, then takes what is hard among the hard, each pushing its neighbours down.",
            "both", draws=False, cuts=True,
            choose=lambda table, **how: select_d2(table.effort, table.embedding, graphs=table.graphs, **how),
        ),
        Method(
            "moderate", "Moderate",
            "Takes those in the middle of the distances to the median embedding.",
            "embedding", draws=False, cuts=False,
            choose=lambda table, **how: select_moderate(table.effort, table.embedding, **how),
        ),
    )
}  # fmt: skip


def method_named(name: str) -> Method:
    """The method of a name. Raises PlanError if there is none."""
    if name not in METHODS:
        raise PlanError(f"method is {name!r}; allowed: {', '.join(METHODS)}")
    return METHODS[name]


def needs_embedding(name: str) -> bool:
    """Whether a method reads embeddings. Raises PlanError if there is no such method."""
    return method_named(name).reads in ("embedding", "both")
