"""Scores opened once, to be selected from time and again."""

from __future__ import annotations

import operator
from collections import defaultdict
from collections.abc import Callable, Hashable, Sequence
from threading import RLock
from typing import Any, TypeVar

import numpy as np

from staff_engine.errors import PlanError
from staff_engine.selection.diverse import DiverseOrder
from staff_engine.selection.drawing import (
    Order,
    Queues,
    order_at_random,
    order_hardest_first,
    queue_at_random,
    queue_hardest_first,
)
from staff_engine.selection.strata import (
    Strata,
    check_cut,
    check_scores,
    count_scorable,
    rank_scores,
    stratify,
)

KEPT = {"ranked": 1, "strata": 4, "random order": 4, "hardest first": 1, "queues": 4, "diverse": 2}
"""How many of each are kept. Of 10 million samples one takes 80 MB (scores ranked, a random
order), 40 MB (hardest first, queues) or 20 MB (strata)."""

_Made = TypeVar("_Made")


class Pool:
    """The speculative scores of N samples, and what selecting from them needs again and again.

    `select_coreset` and `draw_verification` take a pool in the place of scores. The answer
    is the same; what was made for an earlier one (the order of the draw, the strata, their
    queues) is used again where the settings that it depends on are the same. Threads may
    share a pool.

    Parameters
    ----------
    speculative : float (N,)
        Effort of every sample on the small model, 0 or more; what is not finite marks an
        unscorable sample. A float64 array is not copied: leave it as it is.
    embedding : callable, optional
        Gives an embedding of every sample, float16 or float32 (N, h), when one is first needed:
        by `within="diverse"`.

    Attributes
    ----------
    scores : float64 (N,)
        The same, read only.
    scorable : int
        How many are finite.

    Raises
    ------
    DatasetError
        If no score is finite.
    ValueError
        If a score is negative, or they are not one-dimensional.

    Examples
    --------
    >>> import numpy as np
    >>> from staff_engine import Pool, select_coreset
    >>> pool = Pool(np.arange(20.0))
    >>> [len(select_coreset(pool, pruning_rate=rate).indices) for rate in (0.9, 0.5)]
    [2, 10]
    """

    def __init__(
        self,
        speculative: Sequence[float] | np.ndarray,
        *,
        embedding: Callable[[], np.ndarray] | None = None,
    ) -> None:
        self.scores = _read_only(check_scores(speculative).view())
        self.scorable = count_scorable(self.scores)
        self._embedding = embedding
        self._kept: dict[str, dict[Hashable, Any]] = defaultdict(dict)
        self._lock = RLock()

    @classmethod
    def of(cls, speculative: Sequence[float] | np.ndarray | Pool) -> Pool:
        """A pool of scores, or the pool that is given."""
        return speculative if isinstance(speculative, Pool) else cls(speculative)

    def __len__(self) -> int:
        return len(self.scores)

    def strata(self, *, num_strata: int, by: str, dropped: int) -> Strata:
        """The strata of `strata.stratify`; their arrays are read only."""
        # Checked before they are a key: 2.0 equals 2 but is not allowed.
        num_strata = check_cut(num_strata, by)
        return self._keep("strata", (num_strata, by, dropped), lambda: self._cut(num_strata, by, dropped))

    def queue_at_random(self, strata: Strata, *, seed: int, stream: int) -> Queues:
        """The queues of `drawing.queue_at_random`, for strata of this pool."""
        seed = operator.index(seed)
        return self._keep(
            "queues",
            (strata, seed, stream),
            lambda: queue_at_random(strata, self.order_at_random(seed=seed, stream=stream)),
        )

    def queue_hardest_first(self, strata: Strata) -> Queues:
        """The queues of `drawing.queue_hardest_first`, for strata of this pool."""
        return self._keep("queues", (strata,), lambda: queue_hardest_first(strata, self._hardest_first()))

    def order_at_random(self, *, seed: int, stream: int) -> Order:
        """The order of `drawing.order_at_random`: the priorities are sorted once."""
        seed = operator.index(seed)
        return self._keep(
            "random order", (seed, stream), lambda: order_at_random(len(self), seed=seed, stream=stream)
        )

    def first_diverse(self, strata: Strata, counts: np.ndarray, *, seed: int, stream: int) -> np.ndarray:
        """The samples of `diverse.DiverseOrder.first`, for strata of this pool.

        Raises
        ------
        PlanError
            If the pool has no embeddings.
        """
        if self._embedding is None:
            raise PlanError("within is 'diverse', which needs embeddings, and there are none")
        seed, embedding = operator.index(seed), self._embedding
        with self._lock:  # an order grows when more of it is asked for
            made = self._keep(
                "diverse",
                (strata, seed, stream),
                lambda: DiverseOrder(strata, embedding(), self.order_at_random(seed=seed, stream=stream)),
            )
            return made.first(counts)

    def _hardest_first(self) -> np.ndarray:
        return self._keep("hardest first", None, lambda: order_hardest_first(self.scores))

    def _cut(self, num_strata: int, by: str, dropped: int) -> Strata:
        ranked = self._keep("ranked", None, lambda: rank_scores(self.scores))
        strata = stratify(self.scores, num_strata=num_strata, by=by, dropped=dropped, ranked=ranked)
        for array in (strata.labels, strata.edges, strata.sizes):
            _read_only(array)  # selections share them
        return strata

    def _keep(self, kind: str, key: Hashable, make: Callable[[], _Made]) -> _Made:
        """What was made for a key, or make it; of each kind the last few in use are kept."""
        # One lock for all, held while something is made: two threads that want the same
        # get the same, and the memory for making it is taken once.
        with self._lock:
            kept = self._kept[kind]
            made = kept.pop(key) if key in kept else make()
            kept[key] = made  # behind all others: a dict is in the order of insertion
            if len(kept) > KEPT[kind]:
                del kept[next(iter(kept))]
            return made


def _read_only(array: np.ndarray) -> np.ndarray:
    array.flags.writeable = False
    return array
