"""Results of an evaluation → the target's results after each coreset, with intervals."""

from __future__ import annotations

from typing import Any, Literal

import pandas as pd
import plotly.graph_objects as go

from staff_engine.charts.style import COLORS, base_figure, literal
from staff_engine.evaluation.report import EvaluationReport, Mean, Row
from staff_engine.selection.methods import METHODS

Measure = Literal["loss", "metric"]

ROW_HEIGHT, REFERENCES = 36, ("nothing", "full")
"""Height of an arm in pixels; the arms drawn as lines, because they have no pruning rate."""


def places(report: EvaluationReport) -> list[tuple[float, str]]:
    """The evaluated pruning rates and budgets, in the report's order."""
    pairs = [(row.pruning_rate, row.budget) for row in report.rows if row.pruning_rate is not None]
    return [(rate, budget or "") for rate, budget in dict.fromkeys(pairs)]


def rows_at(report: EvaluationReport, rate: float, budget: str) -> list[Row]:
    """The rows for a pruning rate and a budget."""
    return [row for row in report.rows if row.pruning_rate == rate and row.budget == budget]


def dots_frame(report: EvaluationReport, measure: Measure, rate: float, budget: str) -> pd.DataFrame:
    """The target's results after each coreset of a rate and budget, the full data, and no training.

    Returns
    -------
    pandas.DataFrame
        A row for each: arm; label; value, low and high, the mean over the seeds and its 95 %
        interval (NaN with one seed); seeds.
    """
    rows = []
    for row in [*(row for row in report.rows if row.arm in REFERENCES), *rows_at(report, rate, budget)]:
        mean = getattr(row, measure)
        if mean is not None:
            rows.append((row.arm, name_of(row), mean.value, mean.low, mean.high, mean.seeds))
    return pd.DataFrame(rows, columns=["arm", "label", "value", "low", "high", "seeds"])


def name_of(row: Row) -> str:
    """An arm's label, with a note if it uses the target's scores."""
    return f"{row.label} (target's scores)" if row.scores == "target" else row.label


def dots_figure(frame: pd.DataFrame, *, x: str) -> go.Figure:
    """A dot and an interval for each coreset; vertical lines for the full data and the untouched target.

    STAFF's coresets, also those of further runs, have their own colour.
    """
    arms = frame[~frame["arm"].isin(REFERENCES)]
    figure = base_figure(x=x, y="", height=90 + ROW_HEIGHT * max(len(arms), 1), legend=False)
    for arm, words in (("full", "full data"), ("nothing", "untouched")):
        for value in frame.loc[frame["arm"] == arm, "value"]:
            figure.add_vline(
                x=value, line={"color": COLORS["dropped"], "width": 1.5, "dash": "dash"},
                annotation={"text": words, "font": {"size": 12}, "xanchor": "center"},
                annotation_position="top",
            )  # fmt: skip
    others = {name for name, method in METHODS.items() if not method.of_run}
    colors = [COLORS["small" if arm in others else "kept"] for arm in arms["arm"]]
    labels = list(map(literal, arms["label"]))
    for row, label, color in zip(arms.itertuples(), labels, colors, strict=True):
        figure.add_scatter(
            x=[row.low, row.high], y=[label, label], mode="lines", hoverinfo="skip",
            line={"color": color, "width": 3},
        )  # fmt: skip
    figure.add_scatter(
        x=arms["value"], y=labels, mode="markers", marker={"size": 10, "color": colors},
        customdata=arms[["low", "high", "seeds"]],
        hovertemplate="%{y}: %{x:.4g}, %{customdata[0]:.4g} to %{customdata[1]:.4g}"
        " (%{customdata[2]} seeds)<extra></extra>",
    )  # fmt: skip
    figure.update_layout(hovermode="closest", margin_t=36)
    figure.update_yaxes(autorange="reversed", showgrid=False, categoryorder="array", categoryarray=labels)
    return figure


def dots_in_words(frame: pd.DataFrame) -> str:
    """Each arm and its mean."""
    return "; ".join(
        f"{label} {value:.3g}" for label, value in zip(frame["label"], frame["value"], strict=True)
    )


def table_frame(report: EvaluationReport) -> pd.DataFrame:
    """The whole table for display: a row for each arm, rate and budget; shares range from 0 to 1.

    Measured values come before their settings. The budget is included only if there are two.
    """
    budgets = len({row.budget for row in report.rows if row.budget}) > 1
    rows = []
    for row in report.rows:
        shown: dict[str, Any] = {"Removed": row.pruning_rate, "Trained on": name_of(row)}
        if budgets:
            shown["Budget"] = row.budget
        shown |= {"Loss": row.loss.value, "Loss − random": _value(row.loss_to_random)}
        if report.metric:
            shown |= {
                report.metric: _value(row.metric), f"{report.metric} − random": _value(row.metric_to_random)
            }  # fmt: skip
        counts = {"Samples": row.rows, "Steps": row.steps, "Seeds": row.loss.seeds}
        rows.append({**shown, **counts, "Selection": row.selection_share})
    return pd.DataFrame(rows)


def _value(mean: Mean | None) -> float | None:
    return None if mean is None else mean.value
