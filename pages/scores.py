"""Scores: how hard samples are for either model, how well the two agree, and what goes with a score."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np
import streamlit as st

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
from staff_engine.system.words import counted

# Session key: how many boxes became filters. It is part of the charts' keys: a new chart has no box.
DRAWN = "_scores_drawn"

WORDS = {
    "verified": "Verified by the target",
    "all": "All",
    "linear": "Linear",
    "log": "Logarithmic",
    "density": "In each bar",
    "cumulative": "Up to each score",
}


def choose(label: str, key: str, options: tuple[str, ...], help: str) -> str:
    """A choice that the link keeps."""
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
    """A chart on which a box becomes a filter; `read` says which."""
    key = f"scores_{name}_{st.session_state.setdefault(DRAWN, 0)}"
    taken = partial(take_box, key, read)
    chart(figure, alt=alt, key=key, on_select=taken, selection_mode="box")


def take_box(key: str, read: Callable[[Mapping[str, Any]], dict[str, Any]]) -> None:
    """Runs when a box is drawn or removed, and at no other rerun."""
    boxes = st.session_state[key].selection.box
    if boxes:
        set_filter(**read(boxes[-1]))
        st.session_state[DRAWN] += 1


@st.cache_data(max_entries=16, show_spinner="Comparing the two models …")
def agreement_of(
    run_id: str, version: str, filter: Any, _columns: SampleColumns, _mask: np.ndarray
) -> Agreement:
    return rank_agreement(
        _columns.speculative[_mask],
        _columns.verification[_mask],
        lengths=_columns.response_tokens[_mask],
    )


@st.cache_data(max_entries=16, show_spinner=False)
def correlation_of(
    run_id: str, version: str, filter: Any, name: str, _columns: SampleColumns, _mask: np.ndarray
) -> float:
    return rank_correlation(getattr(_columns, name)[_mask], _columns.speculative[_mask])


def target_in_words(tuned: int) -> list[str]:
    """Whether the target that scored was fine-tuned, and on how many samples."""
    if not tuned:
        return ["The target is untouched: it was not fine-tuned."]
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
            "The target scores only a part of the samples. Both models can be compared on that part; on all"
            " samples the target is shown only if it has scored them all.",
        )
        scale = choose(
            "Scores",
            "scores_scale",
            ("linear", "log"),
            "Logarithmic spreads out the many easy samples, for all charts on this page.",
        )
        shape = choose(
            "Share of samples",
            "scores_shape",
            ("density", "cumulative"),
            "In each bar: how the scores are spread. Up to each score: what share of the samples is easier.",
        )
    frame = scores.distribution_frame(columns, units, on=on, scale=scale, mask=mask)
    if frame.empty:
        st.info("The target has not scored any sample yet. Look at all samples, or verify some on Select.")
        st.page_link(page_file("select"), label="Go to Select", icon=":material/tune:")
        return
    figure = scores.distribution_figure(
        frame,
        selection.edges,
        unit=units.small,
        scale=scale,
        shape=shape,
        left_out=bool((columns.strata == -1).any()),
    )
    selectable(
        figure,
        "distribution",
        "Distribution of the small model's and the target's scores over each other, with the strata's edges.",
        lambda box: {"score": scores.chosen_scores(frame, box["x"], columns, units, scale=scale)},
    )
    said = target_in_words(tuned) if units.samples else []
    st.caption(" ".join([*scores.reading(frame, columns, units), *said, *scores.clipped(frame)]))


def show_pairs(
    columns: SampleColumns, units: Units, mask: np.ndarray | None, version: tuple[str, str]
) -> None:
    st.subheader("Do the two models agree?", anchor=False)
    if not units.samples:
        st.info("The target has not scored any sample yet, so there is nothing to compare.")
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


def show_agreement(found: Agreement, label: str) -> None:
    st.metric(
        label,
        f"{found.spearman:.2f}" if np.isfinite(found.spearman) else "–",
        help="Spearman's: 1 where both models put the samples in the same order, 0 where their orders have"
        " nothing in common. The interval is a bootstrap over the samples that both have scored; these are"
        " drawn evenly over the strata, so that hard ones count for more than in the data.",
    )
    if np.isfinite(found.low):
        st.caption(f"95 % interval {found.low:.2f} to {found.high:.2f}, from {found.samples:,} samples")
    else:
        st.caption(f"{found.samples:,} samples: too few")
    if np.isfinite(found.pearson_log):
        st.caption(f"Correlation of the logarithms {found.pearson_log:.2f}")


def show_bands(
    columns: SampleColumns, units: Units, mask: np.ndarray | None, version: tuple[str, str]
) -> None:
    st.subheader("What goes with a high score?", anchor=False)
    kinds = (
        ("response_tokens", "tokens", "Response length (tokens)", "the response gets longer"),
        ("loss", "loss", "Loss (nats per token)", "the loss rises"),
    )
    for place, (name, part, title, what) in zip(st.columns(2), kinds, strict=True):
        with place:
            values = getattr(columns, name)
            frame = relations.band_frame(values, columns.speculative, units.small, mask=mask)
            said = relations.trend(
                correlation_of(*version, None, name, columns, np.ones(len(columns), dtype=bool)), what
            )
            selectable(
                relations.band_figure(frame, x=title, scale=st.session_state.scores_scale),
                name,
                f"The small model's score by {title.lower()}. {said}",
                lambda box, part=part: {part: relations.chosen_values(box["x"], whole=part == "tokens")},
            )
            st.caption(said)
    st.caption(
        "Each dot stands for one group of like size; half of its samples lie in the band. All samples with a"
        " score are counted."
    )


header("Scores", "How hard each sample is for the small model, and whether the target agrees.")
results = scored_results()
filter_bar(results)
selection = current_selection(results)
columns = current_columns(results)
mask = None if st.session_state.filter.empty else current_mask(results)
units = score_units(columns)
version = (results.folder.name, results_version(current_run()))
st.caption("Drag across a chart to look only at the samples there: every page obeys the filter.")
show_distribution(columns, selection, units, mask, len(results.tuned_ids))
show_pairs(columns, units, mask, version)
show_bands(columns, units, mask, version)
st.page_link(page_file("select"), label="Turn the scores into a coreset", icon=":material/tune:")
