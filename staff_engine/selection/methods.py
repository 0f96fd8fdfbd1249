"""STAFF and its baselines, by name: what each method reads, and how it selects a coreset."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from staff_engine.errors import PlanError
from staff_engine.presets import PRESETS, Preset
from staff_engine.selection.baselines.ccs import select_ccs
from staff_engine.selection.baselines.d2 import Graph, select_d2
from staff_engine.selection.baselines.facility import select_facility
from staff_engine.selection.baselines.kmeans import select_kmeans
from staff_engine.selection.baselines.moderate import select_moderate
from staff_engine.selection.baselines.oracle import select_oracle
from staff_engine.selection.baselines.perplexity import select_perplexity
from staff_engine.selection.baselines.random_budgets import select_random_extra, select_random_tokens
from staff_engine.selection.baselines.ranked import select_el2n, select_grand, select_random
from staff_engine.selection.baselines.s2l import select_s2l
from staff_engine.selection.baselines.superfiltering import select_superfiltering

OPTIONAL_COLUMNS = {
    "effort": "effort",
    "el2n": "EL2N",
    "loss": "losses",
    "embedding": "embeddings",
    "trajectories": "losses at checkpoints",
    "ifd": "IFD",
    "clean": "the field _kind of each row",
}
"""Columns of a `ScoreTable` that a run can lack, in words."""


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
    response_tokens: np.ndarray
    """Number of response tokens."""
    trajectories: np.ndarray
    """(N, c): loss at c checkpoints of the small model's fine-tuning; c is 0 if they are not measured."""
    ifd: np.ndarray
    """Perplexity of the response with its prompt, divided by that without it; (0,) if not measured."""
    embedding: np.ndarray
    """float16 (N, h): last hidden state averaged over the tokens; 0 where unscorable."""
    source: Literal["small", "target", "file"]
    """The model that computed the scores, or the file that has them."""
    clean: np.ndarray = field(default_factory=lambda: np.zeros(0, dtype=bool))
    """bool (N,): whether the data says that nothing is wrong with the row; (0,) if it does not say it."""
    graphs: dict[tuple[int, int], Graph] = field(default_factory=dict, init=False, repr=False)
    """Nearest-neighbour graphs of D2, kept so that they can be used for other pruning rates."""

    def has(self, column: str) -> bool:
        """Whether a column that a method reads is known. Without a model, no effort is."""
        if self.source == "file" and column in ("effort", "el2n", "loss"):
            return False
        return getattr(self, column).size > 0


@dataclass(frozen=True)
class Method:
    """A method of selecting a coreset."""

    name: str
    label: str
    """Name for display."""
    sentence: str
    reads: tuple[str, ...] = ()
    """The columns of a `ScoreTable` that it needs."""
    draws: bool = False
    """Whether the coreset can depend on the seed."""
    cuts: bool = False
    """Whether it leaves out the fraction β of the hardest samples."""
    stratifies: bool = False
    """Whether it is a baseline with a number of strata K."""
    budget: Literal["samples", "tokens", "time"] = "samples"
    """What it has in common with the run's own coreset: the number of samples; their response tokens in
    total; or the time of selecting and of training on it."""
    by_default: bool = False
    """Whether it is compared if no methods are named."""
    choose: Callable[..., np.ndarray] | None = None
    """Returns row ids, int64 (m,), ascending, for a `ScoreTable`, `pruning_rate` and `seed`; with `beta`
    if it cuts, `num_strata` if it stratifies, `tokens` or `extra` samples for these budgets. None: use the
    selection of the run."""
    settings: Mapping[str, Any] | None = None
    """For methods that use the selection of the run: the settings that replace the run's own."""

    def __post_init__(self) -> None:
        if (self.choose is None) == (self.settings is None):
            raise ValueError(f"method {self.name} has both or neither of choose and settings; allowed: one")

    @property
    def of_run(self) -> bool:
        """Whether it is a selection of the run, with the target's scores, and not a baseline."""
        return self.settings is not None

    @property
    def of_small(self) -> bool:
        """Whether it always uses the small model's scores, because the target's table lacks a column."""
        return not self.of_run and bool({"trajectories", "ifd", "clean"} & set(self.reads))

    def lacks(self, table: ScoreTable) -> tuple[str, ...]:
        """The columns that it reads and the table does not have."""
        return tuple(column for column in self.reads if not table.has(column))


def _columns_of(preset: Preset) -> tuple[str, ...]:
    """The columns that a preset reads and a run can lack."""
    diverse = ("embedding",) if preset.settings["within"] == "diverse" else ()
    ifd = ("ifd",) if "ifd" in (preset.settings["score"], preset.settings["drop_by"]) else ()
    return ("effort", *diverse, *ifd)


def _of_preset(preset: Preset) -> Method:
    """STAFF with the settings of a preset, whatever the run's own are."""
    return Method(
        f"staff-{preset.name}", f"STAFF ({preset.label})",
        f"STAFF with the settings of this preset. {preset.sentence}",
        reads=_columns_of(preset),
        draws=preset.settings["within"] != "hardest", settings=preset.settings,
    )  # fmt: skip


OWN = "staff"
"""The method that is the run's own selection."""

METHODS = {
    method.name: method
    for method in (
        Method(
            OWN, "STAFF",
            "Draws from strata of the small model's effort, and more from strata that are harder for the"
            " target.",
            draws=True, by_default=True, settings={},
        ),
        *map(_of_preset, PRESETS.values()),
        Method(
            "staff-unverified", "STAFF without verification",
            "The run's own selection with every verification ratio 1, so the target has no influence.",
            draws=True, settings={"ratio": "equal"},
        ),
        Method(
            "staff-unstratified", "STAFF without strata",
            "The run's own selection with one stratum, so only the hardest samples are treated differently.",
            draws=True, settings={"strata": 1, "ratio": "equal"},
        ),
        Method(
            "random", "Random",
            "Draws samples uniformly, without using scores.",
            draws=True, by_default=True,
            choose=lambda table, **how: select_random(table.effort, **how),
        ),
        Method(
            "random-tokens", "Random (equal tokens)",
            "Draws samples uniformly until their responses have as many tokens as those of the run's own"
            " coreset.",
            draws=True, budget="tokens",
            choose=lambda table, *, tokens, seed, pruning_rate: select_random_tokens(
                table.effort, table.response_tokens, tokens=tokens, seed=seed
            ),
        ),
        Method(
            "random-time", "Random (equal time)",
            "Draws as many more samples uniformly as the target trains on in the time that the run's own"
            " selection takes.",
            draws=True, budget="time",
            choose=lambda table, **how: select_random_extra(table.effort, **how),
        ),
        Method(
            "grand", "GraNd",
            "Keeps the samples with the highest effort (norm of the gradient).",
            reads=("effort",), by_default=True,
            choose=lambda table, **how: select_grand(table.effort, **how),
        ),
        Method(
            "el2n", "EL2N",
            "Keeps the samples with the largest error of the predicted probabilities.",
            reads=("el2n",), by_default=True,
            choose=lambda table, **how: select_el2n(table.el2n, **how),
        ),
        Method(
            "ccs", "CCS",
            "Removes the hardest samples, then draws an equal number from each stratum of the effort.",
            reads=("effort",), draws=True, cuts=True, stratifies=True, by_default=True,
            choose=lambda table, **how: select_ccs(table.effort, **how),
        ),
        Method(
            "d2", "D2",
            "Removes the hardest samples, then keeps samples that are hard and have hard neighbours; each"
            " kept sample lowers the rank of its neighbours.",
            reads=("effort", "embedding"), cuts=True, by_default=True,
            choose=lambda table, **how: select_d2(table.effort, table.embedding, graphs=table.graphs, **how),
        ),
        Method(
            "moderate", "Moderate",
            "Keeps the samples whose distances to the median embedding are in the middle of all distances.",
            reads=("embedding",), by_default=True,
            choose=lambda table, **how: select_moderate(table.effort, table.embedding, **how),
        ),
        Method(
            "perplexity", "Middle perplexity",
            "Keeps the samples whose losses are in the middle of all losses.",
            reads=("loss",),
            choose=lambda table, **how: select_perplexity(table.loss, **how),
        ),
        Method(
            "kmeans", "K-means",
            "Draws an equal number of samples from each cluster of the embeddings.",
            reads=("embedding",), draws=True,
            choose=lambda table, **how: select_kmeans(table.effort, table.embedding, **how),
        ),
        Method(
            "facility", "Facility location",
            "Keeps the samples whose embeddings represent all samples best.",
            reads=("embedding",), draws=True,
            choose=lambda table, **how: select_facility(table.effort, table.embedding, **how),
        ),
        Method(
            "s2l", "S2L",
            "Draws an equal number of samples from each cluster of the losses during the small model's"
            " fine-tuning.",
            reads=("trajectories",), draws=True,
            choose=lambda table, **how: select_s2l(table.effort, table.trajectories, **how),
        ),
        Method(
            "superfiltering", "Superfiltering",
            "Keeps the samples with the highest IFD below 1: their prompts help the small model least.",
            reads=("ifd",),
            choose=lambda table, **how: select_superfiltering(table.effort, table.ifd, **how),
        ),
        Method(
            "oracle", "Oracle",
            "Draws from the rows that the data itself calls clean, which no method can know. It shows what"
            " finding the wrong rows would be worth.",
            reads=("clean",), draws=True,
            choose=lambda table, **how: select_oracle(table.effort, table.clean, **how),
        ),
    )
}  # fmt: skip

DEFAULT_METHODS = tuple(name for name, method in METHODS.items() if method.by_default)
"""The methods that are compared if none is named: the run's own selection, and the classic baselines."""


def method_named(name: str) -> Method:
    """The method with this name. Raises PlanError if the name is unknown."""
    if name not in METHODS:
        raise PlanError(f"method is {name!r}; allowed: {', '.join(METHODS)}")
    return METHODS[name]


def labels_where(holds: Callable[[Method], bool]) -> str:
    """The labels of the methods for which it holds, in words: "CCS and D2"."""
    *others, last = (method.label for method in METHODS.values() if holds(method))
    return f"{', '.join(others)} and {last}" if others else last


def of_any_score(table: ScoreTable) -> list[str]:
    """The methods that are compared by default and need no more than a table has."""
    return [name for name in DEFAULT_METHODS if not METHODS[name].lacks(table)]
