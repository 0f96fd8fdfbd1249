"""The coverage of several methods' coresets of a run: how much of its data they reach; no model is run."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from staff_engine.runs.results import Results
from staff_engine.runs.score_tables import choose, missing_of
from staff_engine.selection.baselines.ccs import CCS_STRATA
from staff_engine.selection.coverage import QUANTILES, Coverage, cluster_embeddings, measure_coverage
from staff_engine.selection.methods import METHODS, ScoreTable, method_named
from staff_engine.system.arrow import by_row, to_numpy, write_table


@dataclass(frozen=True, eq=False)
class MethodCoverage:
    """Coresets of some methods at one pruning rate, and their coverage."""

    pruning_rate: float
    seed: int
    beta: float
    """Fraction of the hardest samples that methods with a β dropped."""
    baseline_strata: int
    """K of CCS."""
    source: str
    """The model whose scores the baselines read: "small" or "target"."""
    coresets: dict[str, np.ndarray]
    """Row ids, int64 (m,), by the method's name."""
    coverage: Coverage
    missing: dict[str, tuple[int, str]] = field(default_factory=dict)
    """For provisional coresets, by the method's name: samples to verify, and the command that does it."""

    @property
    def notes(self) -> list[str]:
        """A sentence for each provisional coreset."""
        return [
            f"{METHODS[name].label} is provisional: {count:,} samples are not verified yet. Run: {command}"
            for name, (count, command) in self.missing.items()
        ]

    def as_json(self) -> dict[str, Any]:
        """Everything but the row ids as a JSON-compatible dict; NaN becomes None."""
        coverage = self.coverage
        return {
            "pruning_rate": self.pruning_rate,
            "seed": self.seed,
            "beta": self.beta,
            "baseline_strata": self.baseline_strata,
            "scores": self.source,
            "strata": coverage.num_strata,
            "clusters": coverage.num_clusters,
            "quantiles": list(QUANTILES),
            "all": {
                "response_tokens": _plain(coverage.lengths.everything),
                "loss": _plain(coverage.losses.everything),
            },
            "methods": [
                {
                    "name": name,
                    "coreset_size": int(coverage.sizes[i]),
                    "to_verify": self.missing.get(name, (0, ""))[0],
                    "overlap": dict(zip(coverage.names, _plain(coverage.jaccard[i]), strict=True)),
                    "strata_reached": _plain(coverage.strata)[i],
                    "clusters_reached": _plain(coverage.clusters)[i],
                    "response_tokens": _plain(coverage.lengths.coresets[i]),
                    "loss": _plain(coverage.losses.coresets[i]),
                }
                for i, name in enumerate(coverage.names)
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
    strata: int | None = None,
) -> Iterator[MethodCoverage]:
    """Select by each method at each pruning rate, and measure the coverage of the coresets.

    Parameters
    ----------
    results, table, seed, beta, strata
        As `score_tables.choose` takes them. Coverage is measured on the strata of the run's plan.
    names
        Names of the methods, at least one.
    pruning_rates
        One result for each rate.

    Raises
    ------
    PlanError
        If a method is unknown, or a setting is not allowed.
    RunError
        If a method reads embeddings and the run has none.
    """
    for name in names:
        method_named(name)
    clusters, own = clusters_of(table, seed), results.select().labels
    for rate in pruning_rates:
        coresets = {
            name: choose(name, results, table, pruning_rate=rate, seed=seed, beta=beta, strata=strata)
            for name in dict.fromkeys(names)
        }
        found = coverage_of_coresets(
            results, table, coresets, clusters, strata=own, pruning_rate=rate, seed=seed, beta=beta,
            baseline_strata=strata,
        )  # fmt: skip
        yield replace(found, missing=missing_among(coresets, results, pruning_rate=rate, seed=seed))


def missing_among(names: Iterable[str], results: Results, **settings: Any) -> dict[str, tuple[int, str]]:
    """`score_tables.missing_of` for those methods that have samples to verify."""
    found = {name: missing_of(name, results, **settings) for name in names}
    return {name: each for name, each in found.items() if each[0]}


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
    baseline_strata: int | None = None,
) -> MethodCoverage:
    """Measure the coverage of given coresets.

    Other parameters are as in `coverage_of_methods`. To measure a part of the samples only, pass
    coresets of that part, a table whose loss is NaN outside it, and strata and clusters below 0 there.
    """
    return MethodCoverage(
        pruning_rate=pruning_rate,
        seed=seed,
        beta=results.plan.drop_hardest if beta is None else beta,
        baseline_strata=CCS_STRATA if baseline_strata is None else baseline_strata,
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


def write_choices(path: Path, rows: int, methods: Sequence[MethodCoverage]) -> None:
    """Write the rows that each method keeps: Parquet with row_id and a bool column METHOD_RATE each."""
    columns = {"row_id": np.arange(rows)}
    for each in methods:
        for name, ids in each.coresets.items():
            kept = np.zeros(rows, dtype=bool)
            kept[ids] = True
            columns[f"{name}_{each.pruning_rate:g}"] = kept
    write_table(path, **columns)


def _response_tokens(results: Results) -> np.ndarray:
    table = results.read("speculative", ["row_id", "response_tokens"])
    return by_row(results.num_rows, to_numpy(table["row_id"]), to_numpy(table["response_tokens"]), missing=0)


def _plain(values: np.ndarray) -> list[float | None]:
    return [None if np.isnan(value) else float(value) for value in values]
