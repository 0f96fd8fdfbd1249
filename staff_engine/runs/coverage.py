"""The coverage of a run's coresets: what those of several methods reach of its data; no model runs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from staff_engine.runs.results import Results
from staff_engine.runs.score_tables import choose
from staff_engine.scoring.parts import read_parts
from staff_engine.selection.coverage import QUANTILES, Coverage, cluster_embeddings, measure_coverage
from staff_engine.selection.methods import ScoreTable, method_named
from staff_engine.system.arrow import by_row, to_numpy, write_table


@dataclass(frozen=True, eq=False)
class MethodCoverage:
    """Coresets of some methods at one pruning rate, and what they reach."""

    pruning_rate: float
    seed: int
    beta: float
    """Fraction of the hardest that CCS and D2 left out."""
    source: str
    """Whose scores the baselines read: "small" or "target"."""
    coresets: dict[str, np.ndarray]
    """Row ids, int64 (m,), by the method's name."""
    coverage: Coverage

    def as_json(self) -> dict[str, Any]:
        """All but the row ids, as JSON has it; NaN is null."""
        found = self.coverage
        return {
            "pruning_rate": self.pruning_rate,
            "seed": self.seed,
            "beta": self.beta,
            "scores": self.source,
            "strata": found.num_strata,
            "clusters": found.num_clusters,
            "quantiles": list(QUANTILES),
            "all": {
                "response_tokens": _plain(found.lengths.everything),
                "loss": _plain(found.losses.everything),
            },
            "methods": [
                {
                    "name": name,
                    "coreset_size": int(found.sizes[i]),
                    "overlap": dict(zip(found.names, _plain(found.jaccard[i]), strict=True)),
                    "strata_reached": _plain(found.strata)[i],
                    "clusters_reached": _plain(found.clusters)[i],
                    "response_tokens": _plain(found.lengths.coresets[i]),
                    "loss": _plain(found.losses.coresets[i]),
                }
                for i, name in enumerate(found.names)
            ],
        }


def coverage_of_methods(
    results: Results,
    table: ScoreTable,
    names: Sequence[str],
    *,
    pruning_rates: Sequence[float],
    seed: int,
    beta: float | None = None,
) -> Iterator[MethodCoverage]:
    """Choose by each method at each pruning rate, and measure what the coresets reach.

    Parameters
    ----------
    results, table, seed, beta
        As `score_tables.choose` takes them. The strata are those of the run's plan.
    names
        Of the methods, at least one.
    pruning_rates
        One result each.

    Raises
    ------
    PlanError
        If there is no such method, or a setting is not allowed.
    RunError
        If a method reads embeddings and the run has none.
    """
    for name in names:
        method_named(name)
    clusters, strata = clusters_of(table, seed), results.select().labels
    for rate in pruning_rates:
        coresets = {
            name: choose(name, results, table, pruning_rate=rate, seed=seed, beta=beta)
            for name in dict.fromkeys(names)
        }
        yield coverage_of_coresets(
            results, table, coresets, clusters, strata=strata, pruning_rate=rate, seed=seed, beta=beta
        )


def clusters_of(table: ScoreTable, seed: int) -> np.ndarray | None:
    """The cluster of each row's embedding, int64 (N,), -1 where unscorable; None without embeddings."""
    if not table.embedding.shape[1]:
        return None
    return cluster_embeddings(table.embedding, np.isfinite(table.effort), seed=seed)


def coverage_of_coresets(
    results: Results,
    table: ScoreTable,
    coresets: dict[str, np.ndarray],
    clusters: np.ndarray | None,
    *,
    pruning_rate: float,
    seed: int,
    strata: np.ndarray,
    beta: float | None = None,
) -> MethodCoverage:
    """Measure what coresets that are chosen already reach.

    The rest as in `coverage_of_methods`. To look at a part of the samples only, give coresets of
    that part, a table whose loss is NaN outside it, and strata and clusters below 0 there.
    """
    return MethodCoverage(
        pruning_rate=pruning_rate,
        seed=seed,
        beta=results.plan.drop_hardest if beta is None else beta,
        source=table.source,
        coresets=coresets,
        coverage=measure_coverage(
            coresets,
            strata=strata,
            clusters=clusters,
            lengths=_response_tokens(results),
            losses=table.loss,
        ),
    )


def write_choices(path: Path, rows: int, found: Sequence[MethodCoverage]) -> None:
    """Write which rows each method keeps: Parquet, row_id and a bool column METHOD_RATE for each coreset."""
    columns = {"row_id": np.arange(rows)}
    for each in found:
        for name, ids in each.coresets.items():
            kept = np.zeros(rows, dtype=bool)
            kept[ids] = True
            columns[f"{name}_{each.pruning_rate:g}"] = kept
    write_table(path, **columns)


def _response_tokens(results: Results) -> np.ndarray:
    table = read_parts(results.folder / "speculative", ["row_id", "response_tokens"])
    return by_row(results.num_rows, to_numpy(table["row_id"]), to_numpy(table["response_tokens"]), missing=0)


def _plain(values: np.ndarray) -> list[float | None]:
    return [None if np.isnan(value) else float(value) for value in values]
