"""Scores: difficulty for both models, their agreement, and correlation with length and loss."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np
import streamlit as st

from pages.parts import brought
from pages.parts.charts import chart
from pages.parts.filters import filter_bar, set_filter
from pages.parts.navigation import page_file
from pages.parts.page import header
from pages.parts.state import (
    current_columns,
    current_mask,
    current_run,
    current_selection,
    results_version,
    scored_results,
)
from staff_engine.charts import relations, scores
from staff_engine.charts.score_axis import Units, score_units
from staff_engine.samples.columns import SampleColumns
from staff_engine.selection.agreement import Agreement, rank_agreement, rank_correlation
from staff_engine.selection.coreset import Selection
from staff_engine.selection.strata import DROPPED
from staff_engine.system.words import counted

# Session key: the number of boxes drawn so far. It is part of the charts' keys, so a new chart has no box.
DRAWN = "_scores_drawn"

WORDS = {
    "verified": "Verified by the target",
    "all": "All",
    "linear": "Linear",
    "log": "Logarithmic",
    "density": "Per bar",
    "cumulative": "Cumulative",
}


def choose(label: str, key: str, options: tuple[str, ...], help: str) -> str:
    """A control whose value is kept in the link."""
    st.segmented_control(
        label,
        options,
        key=key,
        format_func=WORDS.__getitem__,
        required=True,
        help=help,
        persist_state="session",
    )
    return st.session_state[key]


def selectable(figure: Any, name: str, alt: str, read: Callable[[Mapping[str, Any]], dict[str, Any]]) -> None:
    """A chart on which a drawn box becomes a filter; `read` converts it."""
    key = f"scores_{name}_{st.session_state.setdefault(DRAWN, 0)}"
    taken = partial(take_box, key, read)
    chart(figure, alt=alt, key=key, on_select=taken, selection_mode="box")


def take_box(key: str, read: Callable[[Mapping[str, Any]], dict[str, Any]]) -> None:
    """Callback: runs only when a box is drawn or removed."""
    boxes = st.session_state[key].selection.box
    if boxes:
        set_filter(**read(boxes[-1]))
        st.session_state[DRAWN] += 1


@st.cache_data(max_entries=16, show_spinner="Comparing the two models …")
def agreement_of(
    folder: str, version: str, filter: Any, _columns: SampleColumns, _mask: np.ndarray
) -> Agreement:
    return rank_agreement(
        _columns.speculative[_mask],
        _columns.verification[_mask],
        lengths=_columns.response_tokens[_mask],
    )


@st.cache_data(max_entries=16, show_spinner=False)
def correlation_of(
    folder: str, version: str, filter: Any, name: str, _columns: SampleColumns, _mask: np.ndarray
) -> float:
    return rank_correlation(getattr(_columns, name)[_mask], _columns.speculative[_mask])


def target_in_words(tuned: int) -> list[str]:
    """A sentence on whether the target was tuned before it verified, and on how many samples."""
    if not tuned:
        return ["The target is untouched (not fine-tuned)."]
    samples = counted(tuned, "other sample")
    return [f"The target was tuned on {samples} before it scored these."]


def show_distribution(
    columns: SampleColumns, selection: Selection, units: Units, mask: np.ndarray | None, tuned: int
) -> None:
    st.subheader("How hard are the samples?", anchor=False)
    with st.container(horizontal=True):
        on = choose(
            "Samples",
            "scores_on",
            ("verified", "all"),
            "The target scores only the verified samples, so both models are compared on these. With All, the"
            " target is shown only if it has scored all samples.",
        )
        scale = choose(
            "Scores",
            "scores_scale",
            ("linear", "log"),
            "A logarithmic axis spreads out the many easy samples. It applies to all charts on this page.",
        )
        shape = choose(
            "Share of samples",
            "scores_shape",
            ("density", "cumulative"),
            "Per bar: the distribution of the scores. Cumulative: the share of samples up to each score.",
        )
    frame = scores.distribution_frame(columns, units, on=on, scale=scale, mask=mask)
    if frame.empty:
        st.info("The target has not scored any sample yet. Show all samples, or verify some on Select.")
        st.page_link(page_file("select"), label="Go to Select", icon=":material/tune:")
        return
    figure = scores.distribution_figure(
        frame,
        selection.edges,
        unit=units.small,
        scale=scale,
        shape=shape,
        left_out=bool((columns.strata == DROPPED).any()),
    )
    selectable(
        figure,
        "distribution",
        "Distributions of the small model's and the target's scores, overlaid, with the edges of the strata.",
        lambda box: {"score": scores.chosen_scores(frame, box["x"], columns, units, scale=scale)},
    )
    target = target_in_words(tuned) if units.samples else []
    st.caption(" ".join([*scores.reading(frame, columns, units), *target, *scores.clipped(frame)]))


def show_pairs(
    columns: SampleColumns, units: Units, mask: np.ndarray | None, version: tuple[str, str]
) -> None:
    st.subheader("Do the two models agree?", anchor=False)
    if not units.samples:
        st.info("The target has not scored any sample yet, so the models cannot be compared.")
        return
    scale = st.session_state.scores_scale
    frame = relations.pair_frame(columns, units, scale=scale, mask=mask)
    everything = np.ones(len(columns), dtype=bool)
    whole = agreement_of(*version, None, columns, everything)
    picture, figures = st.columns([3, 1], vertical_alignment="center")
    with picture:
        selectable(
            relations.pair_figure(frame, scale=scale),
            "pairs",
            f"The small model's score of each verified sample against the target's. {whole.sentence}",
            lambda box: relations.chosen_pair(frame, box, columns, units, scale=scale),
        )
    with figures:
        show_agreement(whole, "Rank correlation")
        if mask is not None:
            filtered = agreement_of(*version, st.session_state.filter, columns, mask)
            show_agreement(filtered, "In the filter")
    st.caption(" ".join([whole.sentence, *relations.reading(frame)]))


def show_agreement(agreement: Agreement, label: str) -> None:
    st.metric(
        label,
        f"{agreement.spearman:.2f}" if np.isfinite(agreement.spearman) else "–",
        help="Spearman's rank correlation: 1 if both models rank the samples in the same order, 0 if the"
        " orders are unrelated. The interval is a bootstrap over the samples that both have scored. These"
        " are drawn evenly over the strata, so hard samples are a larger part of them than of the data.",
    )
    if np.isfinite(agreement.low):
        st.caption(
            f"95 % interval {agreement.low:.2f} to {agreement.high:.2f}, from {agreement.samples:,} samples"
        )
    else:
        st.caption(f"{agreement.samples:,} samples are too few")
    if np.isfinite(agreement.partial):
        st.caption(
            f"With response length held: **{agreement.partial:.2f}** (95 % interval"
            f" {agreement.partial_low:.2f} to {agreement.partial_high:.2f})",
            help="What is left of the rank correlation once response length is held: both models score short"
            " responses high, which alone makes them agree. The rating of the small model uses this one.",
        )
    if np.isfinite(agreement.pearson_log):
        st.caption(f"Correlation of the logarithms {agreement.pearson_log:.2f}")


def show_bands(
    columns: SampleColumns, units: Units, mask: np.ndarray | None, version: tuple[str, str]
) -> None:
    st.subheader("What correlates with the score?", anchor=False)
    kinds = (
        ("response_tokens", "tokens", "Response length (tokens)", "the response gets longer"),
        ("loss", "loss", "Loss (nats per token)", "the loss rises"),
    )
    for column, (name, part, title, what) in zip(st.columns(2), kinds, strict=True):
        with column:
            values = getattr(columns, name)
            frame = relations.band_frame(values, columns.speculative, units.small, mask=mask)
            trend = relations.trend(
                correlation_of(*version, None, name, columns, np.ones(len(columns), dtype=bool)), what
            )
            selectable(
                relations.band_figure(frame, x=title, scale=st.session_state.scores_scale),
                name,
                f"The small model's score by {title.lower()}. {trend}",
                lambda box, part=part: {part: relations.chosen_values(box["x"], whole=part == "tokens")},
            )
            st.caption(trend)
    st.caption(
        "Each dot is the median of one group; the groups are of similar size. The band covers the middle half"
        " of each group. All samples with a score are counted."
    )


header("Scores", "How hard the samples are for the small model, and whether the target agrees.")
results = scored_results()
brought.say(results.plan)
filter_bar(results)
selection = current_selection(results)
columns = current_columns(results)
mask = None if st.session_state.filter.empty else current_mask(results)
units = score_units(columns)
version = (str(results.folder), results_version(current_run()))
st.caption("Drag across a chart to filter by its samples. The filter applies to every page.")
show_distribution(columns, selection, units, mask, len(results.tuned_ids))
show_pairs(columns, units, mask, version)
show_bands(columns, units, mask, version)
st.page_link(page_file("select"), label="Select a coreset from these scores", icon=":material/tune:")
