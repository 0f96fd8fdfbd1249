"""Two selections → number of samples of each in every stratum, and their distributions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from staff_engine.charts.style import COLORS, base_figure, literal
from staff_engine.runs.composition import Lengths
from staff_engine.selection.coreset import Selection

FEWEST_BARS, MOST_BARS = 8, 24
MOST_STRATA = 200

SIDES = (("a", "first"), ("b", "second"))


def budget_frame(selections: Mapping[str, Selection], lengths: Sequence[Lengths]) -> pd.DataFrame:
    """How some selections spend their budget: a row for each.

    Parameters
    ----------
    selections
        By name.
    lengths
        The response lengths of their coresets, in the same order.

    Returns
    -------
    pandas.DataFrame
        Preset, Kept, Response tokens (share of all, 0 to 1), Median response (tokens), Strata served, and
        Largest budget: the samples of the stratum that gives most.
    """
    rows = [
        {
            "Preset": name,
            "Kept": len(selection.indices),
            "Response tokens": each.token_share,
            "Median response": each.coreset_median,
            "Strata served": f"{int((selection.budget > 0).sum()):,} of {len(selection.sizes):,}",
            "Largest budget": int(selection.budget.max()),
        }
        for (name, selection), each in zip(selections.items(), lengths, strict=True)
    ]
    return pd.DataFrame(rows)


def strata_frame(labels: np.ndarray, a: np.ndarray, b: np.ndarray) -> pd.DataFrame:
    """Count the samples of two coresets in the strata of one of them.

    Parameters
    ----------
    labels : int (rows,)
        Stratum of every row, below 0 if it has none.
    a, b : int64 (m,)
        Row ids.

    Returns
    -------
    pandas.DataFrame
        first and last, a stratum or several merged ones; a and b, samples in them. Stratum -1
        counts the samples among the hardest that the first selection drops.
    """
    count = int(labels.max(initial=-1)) + 1
    step = -(-max(count, 1) // MOST_STRATA)
    strata = {side: labels[ids] for side, ids in (("a", a), ("b", b))}
    first = np.arange(0, max(count, 1), step)
    frame = pd.DataFrame({"first": first, "last": np.minimum(first + step, count) - 1})
    for side, of_rows in strata.items():
        inside = of_rows[of_rows >= 0].astype(np.int64)
        frame[side] = np.bincount(inside // step, minlength=len(first))
    dropped = {side: int((of_rows < 0).sum()) for side, of_rows in strata.items()}
    if any(dropped.values()):
        frame = pd.concat([pd.DataFrame([{"first": -1, "last": -1, **dropped}]), frame], ignore_index=True)
    return frame


def strata_figure(frame: pd.DataFrame, names: tuple[str, str]) -> go.Figure:
    """Samples of both coresets in each stratum, side by side; the dropped hardest after the last one."""
    together = bool((frame["first"] != frame["last"]).any())
    title = f"Strata of the first, easiest to hardest{' (neighbours merged)' if together else ''}"
    figure = base_figure(x=title, y="Samples in the coreset", height=320)
    outside = frame["first"].max() + 1.5 * max(1, (frame["last"] - frame["first"]).max() + 1)
    x = np.where(frame["first"] < 0, outside, frame["first"])
    for (side, color), name in zip(SIDES, map(literal, names), strict=True):
        figure.add_bar(
            x=x, y=frame[side], name=name, marker_color=COLORS[color],
            hovertemplate=f"%{{y:,}} in {name}<extra></extra>",
        )  # fmt: skip
    if (frame["first"] < 0).any():
        figure.add_annotation(
            x=outside, y=1, yref="paper", yanchor="bottom", text="hardest, dropped", showarrow=False
        )
    return figure


def profile_frame(values: np.ndarray, a: np.ndarray, b: np.ndarray) -> pd.DataFrame:
    """How a column of the data is distributed in two coresets.

    Parameters
    ----------
    values : float or int (rows,)
        For every row; finite for the rows of the coresets.
    a, b : int64 (m,)
        Row ids.

    Returns
    -------
    pandas.DataFrame
        low and high, a bar's edges; a and b, the share of each coreset in it; beyond, samples of
        both in it that are above its upper edge: the last bar includes the samples above the
        99 % quantile of both. Fewer bars for few samples.
    """
    both = values[np.concatenate([a, b])].astype(float)
    low, high = float(both.min()), float(np.quantile(both, 0.99))
    bars = int(np.clip(2 * min(len(a), len(b)) ** (1 / 3), FEWEST_BARS, MOST_BARS))
    edges = np.linspace(low, high if high > low else low + 1, bars + 1)
    frame = pd.DataFrame({"low": edges[:-1], "high": edges[1:], "beyond": 0})
    above = values[np.union1d(a, b)] > edges[-1]
    frame.loc[bars - 1, "beyond"] = np.count_nonzero(above)
    for side, ids in (("a", a), ("b", b)):
        counts, _ = np.histogram(np.minimum(values[ids], edges[-1]), bins=edges)
        frame[side] = counts / len(ids)
    return frame


def profile_figure(frame: pd.DataFrame, names: tuple[str, str], *, x: str) -> go.Figure:
    """Both distributions as overlaid step lines."""
    figure = base_figure(x=x, y="Share of the coreset", height=280)
    edges = np.append(frame["low"], frame["high"].iloc[-1:])
    for (side, color), name in zip(SIDES, map(literal, names), strict=True):
        figure.add_scatter(
            x=edges, y=np.append(frame[side], frame[side].iloc[-1:]), name=name, mode="lines",
            line={"shape": "hv", "color": COLORS[color], "width": 2},
            hovertemplate=f"%{{y:.1%}} of {name}<extra></extra>",
        )  # fmt: skip
    figure.update_yaxes(tickformat=".0%", rangemode="tozero")
    return figure
