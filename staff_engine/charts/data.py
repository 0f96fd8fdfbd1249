"""Results of the check of every row, as figures and tables."""

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
"""Up to this number of bars, each has its own tick; below this number of rows, ticks are integers."""

NUMBERS = 5
"""Maximum number of row numbers listed for a group."""


def lengths_frame(lengths: Lengths) -> pd.DataFrame:
    """The bars of a histogram of lengths.

    Returns
    -------
    DataFrame
        low, high: characters, low included, high excluded; rows: number of rows in this range.
    """
    return pd.DataFrame(
        {"low": lengths.edges[:-1], "high": lengths.edges[1:], "rows": lengths.counts}
    ).astype({"low": float, "high": float, "rows": int})


def lengths_figure(frame: pd.DataFrame, lengths: Lengths, *, of: str) -> go.Figure:
    """A histogram of lengths, with the median as a line.

    Parameters
    ----------
    frame
        From `lengths_frame`.
    of
        The measured part: "prompt" or "response".
    """
    scale = ", log scale" if lengths.log else ""
    singles = bool((frame["high"] - frame["low"] == 1).all())  # each bar is one length
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
        x=math.log10(median) if lengths.log else median,  # annotations, unlike shapes, take the exponent
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
            text = f"{lengths.empty:,} empty ones are not shown on this scale"
            title = {"text": text, "font": {"size": 12}, "x": 0, "y": 0.98, "yanchor": "top"}
            figure.update_layout(title=title, margin={"t": 56})
    return figure


def repeats_frame(duplicates: Duplicates, unit: str) -> pd.DataFrame:
    """Repeated rows: count, row numbers and text."""
    return pd.DataFrame(
        {
            "Count": [same.rows for same in duplicates.examples],
            f"{unit.capitalize()}s": [_row_numbers(same.numbers) for same in duplicates.examples],
            "Prompt": [same.prompt for same in duplicates.examples],
            "Response": [same.responses[0] for same in duplicates.examples],
        }
    )


def conflicts_frame(duplicates: Duplicates, unit: str) -> pd.DataFrame:
    """Prompts with different responses: count, row numbers and text."""
    frame = pd.DataFrame(
        {
            "Responses": [same.rows for same in duplicates.examples],
            f"{unit.capitalize()}s": [_row_numbers(same.numbers) for same in duplicates.examples],
            "Prompt": [same.prompt for same in duplicates.examples],
        }
    )
    for index, name in enumerate(("One response", "Another response")):
        frame[name] = [
            same.responses[index] if index < len(same.responses) else "" for same in duplicates.examples
        ]
    return frame


def problems_frame(problems: Sequence[Problem], unit: str) -> pd.DataFrame:
    """Rows that cannot be used: row number, problem and text."""
    return pd.DataFrame(
        {
            unit.capitalize(): [problem.number for problem in problems],
            "Problem": [problem.detail for problem in problems],
            "Text": [problem.text for problem in problems],
        }
    )


def _row_numbers(numbers: Sequence[int]) -> str:
    return first_few((f"{number:,}" for number in numbers), NUMBERS)
