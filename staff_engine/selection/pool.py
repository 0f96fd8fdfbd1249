"""Scores that are loaded once and used for many selections."""

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
from staff_engine.selection.order.order_statistics import is_large, rank_scores
from staff_engine.selection.order.partial_order import first_at_random, first_hardest
from staff_engine.selection.strata import Strata, check_cut, check_scores, count_scorable, stratify

KEPT = {"ranked": 1, "strata": 4, "random order": 4, "hardest first": 1, "queues": 4, "diverse": 2,
        "without": 4}  # fmt: skip
"""How many intermediate results of each kind are cached. For 10 million samples, one takes 80 MB
(ranked scores, random order), 40 MB (hardest first, queues) or 20 MB (strata). Of more samples than
`order_statistics.LARGE`, only the last result of each kind is cached, and none that orders all samples."""

_Made = TypeVar("_Made")


class Pool:
    """The speculative scores of N samples, with a cache of intermediate results of selections.

    `select_coreset` and `draw_verification` accept a pool instead of scores. The results are the
    same. Intermediate results (the order of the draw, the strata, their queues) are used again if
    the settings that they depend on are the same. Threads can share a pool.

    Parameters
    ----------
    speculative : float (N,)
        Effort of every sample on the small model, 0 or more. A value that is not finite marks an
        unscorable sample. A float64 array is not copied: do not change it.
    embedding : callable, optional
        Returns the embeddings of all samples, float16 or float32 (N, h). Called when they are
        first needed, by `within="diverse"`.

    Attributes
    ----------
    scores : float64 (N,)
        The speculative scores, read-only.
    scorable : int
        Number of finite scores.

    Raises
    ------
    DatasetError
        If no score is finite.
    ValueError
        If a score is negative, or the scores are not one-dimensional.

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
        """Make a pool of scores; a pool is returned unchanged."""
        return speculative if isinstance(speculative, Pool) else cls(speculative)

    def __len__(self) -> int:
        return len(self.scores)

    def without(self, row_ids: np.ndarray) -> Pool:
        """The pool in which these rows, int64, have no score; the pool itself if there are none."""
        if not len(row_ids):
            return self
        return self._keep("without", row_ids.tobytes(), lambda: self._without(row_ids))

    def _without(self, row_ids: np.ndarray) -> Pool:
        scores = self.scores.copy()
        scores[row_ids] = np.nan
        return Pool(scores, embedding=self._embedding)

    def strata(self, *, num_strata: int, by: str, dropped: int) -> Strata:
        """The strata of `strata.stratify`; their arrays are read-only."""
        # Check them before they become a key: 2.0 equals 2 but is not allowed.
        num_strata = check_cut(num_strata, by)
        return self._keep("strata", (num_strata, by, dropped), lambda: self._cut(num_strata, by, dropped))

    def first_at_random(
        self, strata: Strata, counts: np.ndarray, *, seed: int, stream: int, taken: np.ndarray | None = None
    ) -> np.ndarray:
        """The first `counts[i]` samples of each stratum i of this pool, in random order.

        Parameters
        ----------
        strata, counts, seed, stream
            As in `partial_order.first_at_random`.
        taken : int64, optional
            Row ids, each once, that are skipped. `counts` are at most what is left of each stratum.

        Returns
        -------
        int64
            Row ids, ascending.
        """
        seed = operator.index(seed)
        if taken is None or not len(taken):
            if is_large(len(self)):
                return first_at_random(strata, counts, seed=seed, stream=stream)
            return self._queue_at_random(strata, seed, stream).first(counts)
        mask = np.zeros(len(self), dtype=bool)
        mask[taken] = True
        if is_large(len(self)):
            return first_at_random(strata.without(mask), counts, seed=seed, stream=stream)
        queues = self._queue_at_random(strata, seed, stream)
        # This many of a queue always include enough samples that are not taken.
        return queues.without(mask, reach=counts + strata.count(taken)).first(counts)

    def first_hardest(self, strata: Strata, counts: np.ndarray) -> np.ndarray:
        """The samples of `partial_order.first_hardest`, for strata of this pool."""
        if is_large(len(self)):
            return first_hardest(strata, counts, self.scores)
        queues = self._keep("queues", (strata,), lambda: queue_hardest_first(strata, self._hardest_first()))
        return queues.first(counts)

    def order_at_random(self, *, seed: int, stream: int) -> Order:
        """The order of `drawing.order_at_random`; the priorities are sorted once."""
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
            raise PlanError("within is 'diverse', which needs embeddings, but there are none")
        seed, embedding = operator.index(seed), self._embedding
        with self._lock:  # an order grows when more of it is requested
            made = self._keep(
                "diverse",
                (strata, seed, stream),
                lambda: DiverseOrder(strata, embedding(), self.order_at_random(seed=seed, stream=stream)),
            )
            return made.first(counts)

    def _queue_at_random(self, strata: Strata, seed: int, stream: int) -> Queues:
        return self._keep(
            "queues",
            (strata, seed, stream),
            lambda: queue_at_random(strata, self.order_at_random(seed=seed, stream=stream)),
        )

    def _hardest_first(self) -> np.ndarray:
        return self._keep("hardest first", None, lambda: order_hardest_first(self.scores))

    def _cut(self, num_strata: int, by: str, dropped: int) -> Strata:
        ranks = self._keep("ranked", None, lambda: rank_scores(self.scores))
        strata = stratify(self.scores, num_strata=num_strata, by=by, dropped=dropped, ranks=ranks)
        for array in (strata.labels, strata.edges, strata.sizes):
            _read_only(array)  # shared by selections
        return strata

    def _keep(self, kind: str, key: Hashable, make: Callable[[], _Made]) -> _Made:
        """Return the cached value of a key, or make it. The last few used values of each kind are kept."""
        # One lock for all, held while a value is made: two threads with the same key get the same
        # value, and the memory for making it is needed only once.
        with self._lock:
            kept = self._kept[kind]
            made = kept.pop(key) if key in kept else make()
            kept[key] = made  # now the last: a dict keeps the order of insertion
            if len(kept) > (1 if is_large(len(self)) else KEPT[kind]):
                del kept[next(iter(kept))]
            return made


def _read_only(array: np.ndarray) -> np.ndarray:
    array.flags.writeable = False
    return array
