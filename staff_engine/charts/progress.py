"""A running run → its loss curve, and its scores so far."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from staff_engine.charts.style import COLORS, base_figure
from staff_engine.errors import RunError
from staff_engine.pipelines.coreset import SMALL, TARGET
from staff_engine.runs.integrity.check import check_files
from staff_engine.scoring.parts import read_parts
from staff_engine.system.arrow import to_numpy
from staff_engine.system.files import read_checked

LOSSES = {"small": SMALL.losses, "target": TARGET.losses}
"""The file with the losses of each model's fine-tuning."""

MOST_STEPS = 500
BARS = 40


def loss_frame(folder: Path, model: str = "small") -> pd.DataFrame:
    """The loss so far of a model's fine-tuning; "target" has one only if it is tuned.

    Returns
    -------
    pandas.DataFrame
        step; loss, nats for each token; smooth, its running mean over about a tenth of
        the steps. At most `MOST_STEPS` steps, evenly spread; empty before the first.

    Raises
    ------
    RunError
        If the file is damaged.
    """
    path = folder / LOSSES[model]
    try:
        content = read_checked(path) if path.exists() else []
        history = content["steps"] if isinstance(content, dict) else content  # older runs: the list
        rows = [(entry["step"], entry["loss"]) for entry in history if "loss" in entry]
    except (KeyError, TypeError):
        raise RunError(f"{path} is damaged: it is not a list of steps") from None
    frame = pd.DataFrame(rows, columns=["step", "loss"])
    frame["smooth"] = frame["loss"].ewm(span=max(10, len(frame) / 10)).mean()
    if len(frame) > MOST_STEPS:
        frame = frame.iloc[np.linspace(0, len(frame) - 1, MOST_STEPS).astype(int)]
    return frame.reset_index(drop=True)


def loss_figure(frame: pd.DataFrame, model: str = "small") -> go.Figure:
    """Loss by step, and its running mean, in the model's colour."""
    figure = base_figure(x="Step", y="Loss (nats per token)", height=260)
    figure.add_scatter(
        x=frame["step"], y=frame["loss"], name="Each batch", mode="lines", opacity=0.35,
        line={"color": COLORS[model], "width": 1}, hovertemplate="%{y:.3f}<extra></extra>",
    )  # fmt: skip
    figure.add_scatter(
        x=frame["step"], y=frame["smooth"], name="Running mean", mode="lines",
        line={"color": COLORS[model], "width": 2.5}, hovertemplate="%{y:.3f} on average<extra></extra>",
    )  # fmt: skip
    return figure


def scored_frame(folder: Path) -> pd.DataFrame:
    """The distribution of the small model's scores so far.

    Returns
    -------
    pandas.DataFrame
        low and high, a bar's edges; samples in it; beyond, those of them above its upper edge:
        the last bar includes the samples above the 99.5 % quantile. Empty before the first part
        is written.

    Raises
    ------
    RunError
        If a part is damaged.
    """
    check_files(folder, "speculative")
    scores = to_numpy(read_parts(folder / "speculative", ["effort"])["effort"])
    scores = scores[np.isfinite(scores)]
    if not len(scores):
        return pd.DataFrame({"low": [], "high": [], "samples": [], "beyond": []})
    top = np.quantile(scores, 0.995) or 1.0
    counts, edges = np.histogram(np.minimum(scores, top), bins=BARS, range=(0, top))
    beyond = np.zeros(BARS, dtype=np.int64)
    beyond[-1] = np.count_nonzero(scores > top)
    return pd.DataFrame({"low": edges[:-1], "high": edges[1:], "samples": counts, "beyond": beyond})


def scored_figure(frame: pd.DataFrame) -> go.Figure:
    """The histogram of the scores so far."""
    figure = base_figure(x="Score (gradient norm)", y="Samples", height=260, legend=False)
    figure.add_bar(
        x=(frame["low"] + frame["high"]) / 2,
        y=frame["samples"],
        width=frame["high"] - frame["low"],
        marker_color=COLORS["small"],
        hovertemplate="%{y:,} samples<extra></extra>",
    )
    return figure
