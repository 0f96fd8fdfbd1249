"""The position of a sample's score in the distribution of all scores."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import plotly.graph_objects as go

from staff_engine.charts.style import COLORS, base_figure

if TYPE_CHECKING:
    import pandas as pd

MODELS = {"small": "small model", "target": "target"}
"""Name of each model on the axis."""


def place_frame(scores: np.ndarray, bins: int = 40) -> pd.DataFrame:
    """A histogram of scores in bins of equal width on a log scale.

    Columns: low and high, a bin's edges; count. A score of 0 counts in the first bin.

    Parameters
    ----------
    scores
        float (n,), 0 or more; values that are not finite are left out.
    """
    import pandas as pd

    finite = scores[np.isfinite(scores)]
    positive = finite[finite > 0]
    if not len(positive):
        return pd.DataFrame({"low": [0.1], "high": [1.0], "count": [len(finite)]})
    low, high = np.log10([positive.min(), positive.max()])
    if high - low < 1e-6:
        low, high = low - 0.05, high + 0.05
    logs = np.log10(np.maximum(finite, positive.min()))
    counts, edges = np.histogram(logs, bins=bins, range=(low, high))
    return pd.DataFrame({"low": 10 ** edges[:-1], "high": 10 ** edges[1:], "count": counts})


def place_figure(frame: pd.DataFrame, score: float | None, *, model: str) -> go.Figure:
    """The histogram with a line at the sample's score.

    Parameters
    ----------
    frame
        From `place_frame`.
    score
        The sample's score; None draws no line.
    model
        "small" or "target": the model of the scores.
    """
    figure = base_figure(x=f"Score on the {MODELS[model]} (log scale)", y="Samples", height=210, legend=False)
    figure.add_bar(
        x=np.sqrt(frame["low"] * frame["high"]),
        y=frame["count"],
        width=frame["high"] - frame["low"],
        marker={"color": COLORS[model], "line": {"width": 0}},
        customdata=frame[["low", "high"]],
        hovertemplate="%{y:,} samples<br>%{customdata[0]:.3g} to %{customdata[1]:.3g}<extra></extra>",
    )
    ticks = _log_ticks(float(frame["low"].min()), float(frame["high"].max()))
    figure.update_xaxes(type="log", tickvals=ticks, ticktext=[f"{tick:g}" for tick in ticks])
    figure.update_yaxes(nticks=4, tickformat=",")
    if score is not None and score > 0:
        figure.add_vline(x=score, line={"color": COLORS["accent"], "width": 3})
        figure.add_annotation(
            x=np.log10(score),  # on a log axis, an annotation takes the logarithm, a line the value
            y=1,
            yref="paper",
            yanchor="bottom",
            showarrow=False,
            text="this sample",
            font={"color": COLORS["accent"]},
        )
        figure.update_layout(margin={"t": 28})
    return figure


def _log_ticks(low: float, high: float) -> list[float]:
    """A few round numbers from `low` to `high`: decades, or equal steps within less than one."""
    if high >= 10 * low:
        decades = 10.0 ** np.arange(np.floor(np.log10(low)), np.ceil(np.log10(high)) + 1)
        ticks = np.outer(decades, [1, 3] if high < 1000 * low else [1]).ravel()
        ticks = ticks[(ticks >= low) & (ticks <= high)]
        return ticks[:: -(-len(ticks) // 7)].tolist()
    rough = (high - low) / 6
    unit = 10.0 ** np.floor(np.log10(rough))
    step = next(nice * unit for nice in (1, 2, 5, 10) if nice * unit >= rough)
    return [round(step * count, 12) for count in range(int(np.ceil(low / step)), int(high / step) + 1)]
