"""Coverage on the Compare page: STAFF's coreset and those of the other methods."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from pages.parts import verifying
from pages.parts.cache import shared
from pages.parts.charts import chart
from pages.parts.filters import filter_bar
from pages.parts.run import plan_field
from pages.parts.state import (
    current_mask,
    current_selection,
    current_settings,
    results_version,
    selection_of,
)
from pages.parts.words import plain
from staff_engine.charts import coverage as charts
from staff_engine.evaluation_plan import EvaluationPlan
from staff_engine.plan import SELECTION_FIELDS, Plan
from staff_engine.program import COMMAND
from staff_engine.runs.control import Run
from staff_engine.runs.coverage import MethodCoverage, clusters_of, coverage_of_coresets, missing_among
from staff_engine.runs.results import Results
from staff_engine.runs.score_tables import HOW_TO_GET, choose, how_to_get, settings_of, small_scores
from staff_engine.selection.baselines.ccs import CCS_STRATA
from staff_engine.selection.methods import (
    DEFAULT_METHODS,
    METHODS,
    OPTIONAL_COLUMNS,
    ScoreTable,
    labels_where,
)
from staff_engine.selection.overlap import jaccard_by_chance
from staff_engine.selection.strata import coreset_size
from staff_engine.system.words import percent

D2_AT_ONCE = 20_000
"""D2 is shown by default only up to this number of samples, where it takes seconds."""


def show(results: Results) -> None:
    """Selectors for methods and pruning rate, and the overlap and coverage of their coresets."""
    filter_bar(results)
    table = _table(*_key(results), results)
    names = _choose_methods(results, table)
    if not names:
        st.info("Choose at least one method.", icon=":material/checklist:")
        return
    covered = _coverage(results, table, names)
    if covered is None:
        st.info("No sample of these coresets passes the filter. Remove part of the filter to compare.")
        return
    scorable = np.isfinite(table.effort) & current_mask(results)
    _say_how(covered, scorable=int(scorable.sum()))
    _overlap_and_reach(covered)
    _spreads(covered)
    _explain(results, names)


def _choose_methods(results: Results, table: ScoreTable) -> list[str]:
    """The methods chosen by the link or with the pills."""
    offered = [name for name in METHODS if not METHODS[name].lacks(table)]
    chosen = st.session_state.compare_methods
    if chosen is None:
        large = np.count_nonzero(np.isfinite(table.effort)) > D2_AT_ONCE
        names = [name for name in offered if name in DEFAULT_METHODS and not (large and name == "d2")]
    else:
        names = [name for name in offered if name in chosen.split(",")]
    st.session_state["_compare_methods"] = names
    st.pills(
        "Methods", offered, selection_mode="multi", key="_compare_methods", on_change=_take_methods,
        format_func=lambda name: METHODS[name].label,
        help="The methods are described at the bottom of the page.",
    )  # fmt: skip
    with st.container(horizontal=True, gap="medium", vertical_alignment="bottom"):
        st.number_input(
            "Pruning rate", **plan_field.bounds("pruning_rate"), step=0.05, format="%.6g",
            key="pruning_rate", persist_state="session", width=150,
            help=f"{Plan.model_fields['pruning_rate'].description} The same as on Select.",
        )  # fmt: skip
        _own_settings(names)
    if len(offered) < len(METHODS):
        _say_what_is_missing(results, table)
    return names


def _say_what_is_missing(results: Results, table: ScoreTable) -> None:
    """The methods that the run has no data for, by the data, and a button that measures some."""
    for column in HOW_TO_GET:
        if not table.has(column):
            without = labels_where(lambda method, column=column: column in method.reads)
            lacks = plain(f"this run has no {OPTIONAL_COLUMNS[column]}{how_to_get(results, column)}")
            st.caption(f"Not available, because {lacks}: {without}.")
    if results.plan.scores is None:
        verifying.offer_trajectories(Run(results.folder.name, results.folder), results)


def _own_settings(names: list[str]) -> None:
    """The settings of the chosen baselines; empty fields use the defaults."""
    if any(METHODS[name].cuts for name in names):
        st.number_input(
            f"β of {labels_where(lambda method: method.cuts)}", **plan_field.bounds("drop_hardest"),
            step=0.05, format="%.6g", key="compare_beta", placeholder="as on Select",
            persist_state="session", width=150,
            help=EvaluationPlan.model_fields["beta"].description,
        )  # fmt: skip
    if any(METHODS[name].stratifies for name in names):
        st.number_input(
            f"K of {labels_where(lambda method: method.stratifies)}",
            **plan_field.bounds("baseline_strata", EvaluationPlan), step=1, key="compare_strata",
            placeholder=str(CCS_STRATA), persist_state="session", width=150,
            help=EvaluationPlan.model_fields["baseline_strata"].description,
        )  # fmt: skip


def _take_methods() -> None:
    chosen = st.session_state["_compare_methods"]
    st.session_state.compare_methods = ",".join(name for name in METHODS if name in chosen)


def _coverage(results: Results, table: ScoreTable, names: list[str]) -> MethodCoverage | None:
    """The coverage among the samples that pass the filter; None where no coreset has one."""
    settings = current_settings()
    rate, seed = settings["pruning_rate"], settings["seed"]
    beta = st.session_state.compare_beta
    beta = settings["drop_hardest"] if beta is None else beta
    selection = current_selection(results)
    coresets = {
        name: selection_of(results, settings_of(name, settings)).indices
        if METHODS[name].of_run
        else _baseline(results, table, name, beta)
        for name in names
    }
    strata, clusters = selection.labels, _clusters(results.folder, seed, table)
    if not st.session_state.filter.empty:
        passing = current_mask(results)
        st.caption(":material/filter_alt: Only samples that pass the filter are counted.")
        coresets = {name: ids[passing[ids]] for name, ids in coresets.items()}
        strata = np.where(passing, strata, -1)
        clusters = None if clusters is None else np.where(passing, clusters, -1)
        table = replace(table, loss=np.where(passing, table.loss, np.nan))
    if not any(map(len, coresets.values())):
        return None
    found = coverage_of_coresets(
        results, table, coresets, clusters, pruning_rate=rate, seed=seed, beta=beta, strata=strata,
        baseline_strata=st.session_state.compare_strata,
    )  # fmt: skip
    return replace(found, missing=missing_among(names, results, **settings))


def _key(results: Results) -> tuple[Path, str]:
    """The run, and the version of its scores, for cache keys."""
    return results.folder, results_version(Run(results.folder.name, results.folder))


@shared("Reading scores and embeddings …")
def _table(folder: Path, version: str, _results: Results) -> ScoreTable:
    return small_scores(_results)


@shared("Choosing the coresets …")
def _coreset(
    folder: Path,
    version: str,
    name: str,
    chosen: tuple[tuple[str, Any], ...],
    beta: float | None,
    strata: int | None,
    _results: Results,
    _table: ScoreTable,
) -> np.ndarray:
    settings = dict(chosen)
    how = {setting: settings[setting] for setting in ("pruning_rate", "seed")}
    return choose(name, _results, _table, beta=beta, strata=strata, settings=settings, **how)


def _baseline(results: Results, table: ScoreTable, name: str, beta: float) -> np.ndarray:
    """A baseline's coreset. Only the settings on which it depends are in the key of the cache."""
    method, settings = METHODS[name], current_settings()
    names = ("pruning_rate", "seed") if method.budget == "samples" else SELECTION_FIELDS
    return _coreset(
        *_key(results),
        name,
        tuple((setting, settings[setting]) for setting in names),
        beta if method.cuts else None,
        st.session_state.compare_strata if method.stratifies else None,
        results,
        table,
    )


@shared("Grouping the embeddings …")
def _clusters(folder: Path, seed: int, _table: ScoreTable) -> np.ndarray | None:
    return clusters_of(_table, seed)


def _say_how(covered: MethodCoverage, *, scorable: int) -> None:
    size = coreset_size(scorable, covered.pruning_rate)
    cutting = labels_where(lambda method: method.cuts)
    for note in covered.notes:
        st.caption(f":material/hourglass_empty: {plain(note)}")
    st.caption(
        f"{percent(covered.pruning_rate)} removed, seed {covered.seed}. STAFF uses the settings of Select."
        f" The baselines use the fine-tuned small model's scores. {cutting} drop the hardest"
        f" {percent(covered.beta)}; CCS uses {covered.baseline_strata} strata. By chance, two random"
        f" coresets of {size:,} of {scorable:,} samples overlap by"
        f" {jaccard_by_chance(size, size, scorable):.0%}."
    )


def _overlap_and_reach(covered: MethodCoverage) -> None:
    coverage = covered.coverage
    left, right = _side_by_side()
    with left:
        st.subheader("Overlap of the coresets", anchor=False)
        if len(coverage.names) > 1:
            frame = charts.overlap_frame(coverage)
            chart(
                charts.overlap_figure(frame), key="methods_overlap",
                alt=f"Overlap of every two coresets: {charts.overlap_in_words(frame)}",
            )  # fmt: skip
            st.caption(
                "Samples in both coresets, divided by samples in either (Jaccard index); 1 is the same"
                " coreset. CCS draws with the same priorities as STAFF, so expect a large overlap of"
                " these two."
            )
        else:
            st.caption("Choose another method to see the overlap of their coresets.")
    with right:
        st.subheader("Coverage", anchor=False)
        reach = charts.reach_frame(coverage)
        counts = {"strata": coverage.num_strata, "clusters": coverage.num_clusters}
        shares = (f"{groups}: {charts.reach_in_words(reach, groups)}" for groups in counts if counts[groups])
        chart(
            charts.reach_figure(reach, counts), alt=f"Share covered. {'. '.join(shares)}", key="methods_reach"
        )
        st.caption(
            "Share of the strata and clusters with at least one sample in the coreset. Strata are STAFF's,"
            " without the hardest dropped. Clusters are k-means clusters of the embeddings."
        )


def _spreads(covered: MethodCoverage) -> None:
    st.subheader("Length and loss of the samples", anchor=False)
    coverage = covered.coverage
    for column, profile, title, key in zip(
        _side_by_side(),
        (coverage.lengths, coverage.losses),
        ("Response length (tokens)", "Loss on the small model (nats per token)"),
        ("methods_lengths", "methods_losses"),
        strict=True,
    ):
        with column:
            frame = charts.spread_frame(coverage, profile)
            chart(
                charts.spread_figure(frame, x=title), key=key,
                alt=f"{title}, medians: {charts.spread_in_words(frame)}",
            )  # fmt: skip
    st.caption(
        "Dot: median. Thick line: middle half. Thin line: 5 % to 95 % quantile. Dashed line: median of all"
        " samples."
    )


def _side_by_side() -> tuple[DeltaGenerator, DeltaGenerator]:
    """Two columns, or one below the other if the page is narrow."""
    with st.grid(2, min_column_width=380, gap="large"):
        return st.container(), st.container()


def _explain(results: Results, names: list[str]) -> None:
    with st.expander("About the methods", icon=":material/menu_book:"):
        for method in METHODS.values():
            st.markdown(f"**{method.label}**. {method.sentence}")
        words = "".join(f" --method {name}" for name in names)
        rate = st.session_state.pruning_rate
        given = {"beta": st.session_state.compare_beta, "baseline-strata": st.session_state.compare_strata}
        more = "".join(f" --{name} {value:g}" for name, value in given.items() if value is not None)
        st.caption("The same as a command. Other settings are those of the run's plan:")
        st.code(
            f"{COMMAND} compare {results.folder.name}{words} --pruning-rate {rate:g}{more}",
            language="bash", wrap_lines=True,
        )  # fmt: skip
