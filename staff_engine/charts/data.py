"""What a look at every row found, as figures and tables."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pandas as pd
import plotly.graph_objects as go

from staff_engine.charts.style import COLORS, base_figure
from staff_engine.data.inspection.findings import Duplicates, Lengths
from staff_engine.data.inspection.job import Problem
from staff_engine.system.words import first_few

FEW = 12
"""Bars up to which each gets a tick of its own; rows below which ticks are whole."""

NUMBERS = 5
"""Row numbers that a table names for a group; how many there are stands beside."""


def lengths_frame(lengths: Lengths) -> pd.DataFrame:
    """The bars of a histogram of lengths.

    Returns
    -------
    DataFrame
        low, high: characters, from low up to but without high; rows: how many rows have so many.
    """
    return pd.DataFrame(
        {"low": lengths.edges[:-1], "high": lengths.edges[1:], "rows": lengths.counts}
    ).astype({"low": float, "high": float, "rows": int})


def lengths_figure(frame: pd.DataFrame, lengths: Lengths, *, of: str) -> go.Figure:
    """A histogram of lengths; the median as a line.

    Parameters
    ----------
    frame
        From `lengths_frame`.
    of
        What is measured: "prompt" or "response".
    """
    scale = ", log scale" if lengths.log else ""
    singles = bool((frame["high"] - frame["low"] == 1).all())  # each bar is one length, and stands over it
    offset = -0.5 if singles and not lengths.log else 0
    figure = base_figure(x=f"Length of the {of} (characters{scale})", y="Rows", height=280, legend=False)
    figure.add_bar(
        x=frame["low"],
        width=frame["high"] - frame["low"],
        offset=offset,
        y=frame["rows"],
        customdata=frame["high"] - 1,
        marker={"color": COLORS["accent"]},
        hovertemplate="%{x:,} to %{customdata:,} characters: %{y:,} rows<extra></extra>",
        name=of,
    )
    median = max(lengths.median, 1.0) if lengths.log else lengths.median
    line = {"color": COLORS["dropped"], "dash": "dot", "width": 2}
    figure.add_shape(type="line", x0=median, x1=median, y0=0, y1=1, yref="paper", line=line)
    figure.add_annotation(
        x=math.log10(median) if lengths.log else median,  # annotations, unlike shapes, want the exponent
        y=1,
        yref="paper",
        yanchor="bottom",
        text=f"median {lengths.median:,.0f}",
        showarrow=False,
    )
    figure.update_layout(hovermode="closest", margin={"t": 28})
    figure.update_xaxes(tickformat=",")
    figure.update_yaxes(rangemode="tozero", tickformat=",")
    if frame["rows"].max() < FEW:
        figure.update_yaxes(dtick=max(1, frame["rows"].max() // 4))
    if singles and len(frame) <= FEW:
        figure.update_xaxes(dtick=1)
    if lengths.log:
        ends = [math.log10(lengths.edges[0]), math.log10(lengths.edges[-1])]
        figure.update_xaxes(type="log", dtick=1, range=ends)
        if lengths.empty:
            said = f"{lengths.empty:,} empty ones have no place on this scale"
            title = {"text": said, "font": {"size": 12}, "x": 0, "y": 0.98, "yanchor": "top"}
            figure.update_layout(title=title, margin={"t": 56})
    return figure


def repeats_frame(duplicates: Duplicates, unit: str) -> pd.DataFrame:
    """Rows that are alike: how often, where, and what they say."""
    return pd.DataFrame(
        {
            "Times": [same.rows for same in duplicates.examples],
            f"{unit.capitalize()}s": [_places(same.numbers) for same in duplicates.examples],
            "Prompt": [same.prompt for same in duplicates.examples],
            "Response": [same.responses[0] for same in duplicates.examples],
        }
    )


def conflicts_frame(duplicates: Duplicates, unit: str) -> pd.DataFrame:
    """Prompts with different responses: how many, where, and what they say."""
    frame = pd.DataFrame(
        {
            "Responses": [same.rows for same in duplicates.examples],
            f"{unit.capitalize()}s": [_places(same.numbers) for same in duplicates.examples],
            "Prompt": [same.prompt for same in duplicates.examples],
        }
    )
    for place, name in enumerate(("One response", "Another response")):
        frame[name] = [
            same.responses[place] if place < len(same.responses) else "" for same in duplicates.examples
        ]
    return frame


def problems_frame(problems: Sequence[Problem], unit: str) -> pd.DataFrame:
    """Rows that cannot be used: where they are, what is wrong, and what stands there."""
    return pd.DataFrame(
        {
            unit.capitalize(): [problem.number for problem in problems],
            "What is wrong": [problem.detail for problem in problems],
            "Text": [problem.text for problem in problems],
        }
    )


def _places(numbers: Sequence[int]) -> str:
    return first_few((f"{number:,}" for number in numbers), NUMBERS)
