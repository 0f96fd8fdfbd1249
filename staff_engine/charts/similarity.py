"""Results of a similarity run → similarity of the models' orders, distributions and strata."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from staff_engine.charts.score_axis import limits, placed, score_axis
from staff_engine.charts.style import COLORS, MODELS, SEQUENTIAL, base_figure, literal
from staff_engine.pipelines.similarity.measures import HARDEST, Estimate
from staff_engine.pipelines.similarity.report import SCORES, Reading, Report, Score
from staff_engine.pipelines.similarity.wording import labels, pairs_of
from staff_engine.system.words import number

MOST_WITH_INTERVALS = 10
"""With more models than this, cells are too small for an interval; it is shown on hover."""

BRIGHT_FROM = 0.47
"""From this value on, black text is easier to read on the colour scale than white."""

CURVE_POINTS = 160


@dataclass(frozen=True)
class Panel:
    """One panel of a dot plot: a measure of a pair or reading."""

    title: str
    unit: str  # what the values mean
    low: float | None  # minimum extent of the axis; None: the range of the values
    high: float | None
    chance: float | None = None  # the value for two unrelated models
    at_chance: str = "as by chance"


LIKENESS = {
    "spearman": Panel("The order", "Rank correlation (1: the same order)", 0, 1, 0),
    "strata": Panel("The strata", "Adjusted Rand index (1: the same strata)", 0, 1, 0),
    "hardest": Panel("The hardest tenth", "Overlap (share of the target's)", 0, 1, HARDEST),
    "pearson": Panel("The scores", "Pearson correlation (1: on a line)", 0, 1, 0),
    "ks": Panel("The distributions", "KS distance (0: alike)", 0, 1),
    "wasserstein": Panel("The distance of the scores", "Wasserstein distance (medians; 0: alike)", 0, None),
}
"""The measures of a `Likeness`: first those of the order, then those of the scores."""

LENGTHS = {
    score: Panel(title, "Rank correlation (with the length in tokens)", -1, 1, 0, "no trend")
    for score, title in zip(SCORES, ("Effort, all LoRA matrices", "Effort, last block", "Loss"), strict=True)
}


def rank_frame(report: Report, score: Score) -> pd.DataFrame:
    """The rank correlation of each pair of readings.

    Returns
    -------
    pandas.DataFrame
        A row for each pair: first and second, their names, in the order of the report's
        readings; value, low and high, -1 to 1, NaN if there is nothing to correlate.
    """
    names = labels(report.readings)
    rows = [
        (names[each.first], names[each.second], *_three(each.correlation))
        for each in report.ranks
        if each.score == score
    ]
    return pd.DataFrame(rows, columns=["first", "second", "value", "low", "high"])


def rank_figure(frame: pd.DataFrame) -> go.Figure:
    """Heat map of the rank correlations, with value and interval in each cell.

    The colours always range from 0 to 1, so two runs are comparable; below 0 is the colour of 0.
    """
    across, down = list(dict.fromkeys(frame["first"])), list(dict.fromkeys(frame["second"]))
    figure = base_figure(x="", y="", height=max(280, 150 + 62 * len(down)), legend=False)
    cells = frame.set_index(["second", "first"])
    with_intervals = len(down) < MOST_WITH_INTERVALS
    values = np.full((len(down), len(across)), np.nan)
    texts = np.full(values.shape, "", dtype=object)
    hovers = texts.copy()
    for (second, first), cell in cells.iterrows():
        cell_index = down.index(str(second)), across.index(str(first))
        value, interval = number(cell["value"]), f"{number(cell['low'])} to {number(cell['high'])}"
        values[cell_index] = cell["value"]
        if not math.isfinite(cell["value"]):
            continue
        texts[cell_index] = f"<b>{value}</b>" + (
            f"<br>{interval.replace(' to ', ' to<br>')}" if with_intervals else ""
        )
        hovers[cell_index] = f"{literal(first)} and<br>{literal(second)}: {value} ({interval})"
    figure.add_heatmap(
        x=[_two_lines(name) for name in across],
        y=[_two_lines(name) for name in down],
        z=values,
        customdata=hovers,
        hovertemplate="%{customdata}<extra></extra>",
        hoverongaps=False,
        colorscale=SEQUENTIAL,
        zmin=0,
        zmax=1,
        xgap=2,
        ygap=2,
        colorbar={
            "title": {"text": "Rank correlation", "side": "top"},
            "orientation": "h",
            "thickness": 10,
            "y": 1,
            "yanchor": "bottom",
            "tickvals": [0, 0.25, 0.5, 0.75, 1],
        },
    )
    rows, columns = np.nonzero(texts != "")  # Plotly's own text colour is hard to read
    figure.add_scatter(
        x=[_two_lines(across[column]) for column in columns],
        y=[_two_lines(down[row]) for row in rows],
        text=texts[rows, columns],
        mode="text",
        hoverinfo="skip",
        textfont={
            "size": 12 if len(down) < 6 else 10.5,
            "color": np.where(values[rows, columns] < BRIGHT_FROM, "#FFFFFF", "#10151C"),
        },
    )
    figure.update_layout(hovermode="closest")
    figure.update_xaxes(showgrid=False, range=[-0.5, len(across) - 0.5])
    figure.update_yaxes(showgrid=False, range=[len(down) - 0.5, -0.5])
    return figure


def curve_frame(report: Report, scores: pd.DataFrame, score: Score, *, tuned: bool) -> pd.DataFrame:
    """The distribution of each reading's scores around their own median.

    Parameters
    ----------
    scores
        `Similarity.scores`.
    tuned
        Whether to use the fine-tuned targets.

    Returns
    -------
    pandas.DataFrame
        For each reading `CURVE_POINTS` rows: name; model, role and tuned_on; score, in medians;
        density, the share of its samples per factor of ten there (a Gaussian kernel over the
        logarithms); samples; outside, those of them outside the axis, which are 0 or far
        outliers. Readings without a score above 0 are left out.
    """
    names, values = labels(report.readings), {}
    for reading in _readings_of(report, score, tuned):
        mine = scores.loc[scores["reading"] == report.readings.index(reading), score].to_numpy(float)
        mine = mine[np.isfinite(mine)]
        unit = np.median(mine) if len(mine) else 0.0
        if unit > 0:
            values[reading] = mine / unit
    columns = ["name", "model", "role", "tuned_on", "score", "density", "samples", "outside"]
    if not values:
        return pd.DataFrame(columns=columns)
    low, high = limits(np.concatenate(list(values.values())), "log")
    room = (high / low) ** 0.1  # in which the curves fall to 0
    low, high = low / room, high * room
    axis = np.linspace(np.log10(low), np.log10(high), CURVE_POINTS)
    frames = []
    for reading, mine in values.items():
        inside = (mine >= low) & (mine <= high)
        density = _density(np.log10(mine[mine > 0]), axis) * np.mean(mine > 0)
        facts = (names[reading], reading.model, reading.role, reading.tuned_on)
        frames.append(
            pd.DataFrame(
                {
                    **dict(zip(columns, facts, strict=False)),
                    "score": 10.0**axis,
                    "density": density,
                    "samples": len(mine),
                    "outside": int((~inside).sum()),
                }
            )
        )
    return pd.concat(frames, ignore_index=True)


def curve_figure(frame: pd.DataFrame) -> go.Figure:
    """The distributions, overlaid: targets thick, untouched models dotted."""
    figure = base_figure(x="Score (1 = the model's own median)", y="Share of samples per factor of 10")
    colors = _colors(frame)
    for name, curve in frame.groupby("name", sort=False):
        first = curve.iloc[0]
        figure.add_scatter(
            x=placed(curve["score"], "log"),
            y=curve["density"],
            customdata=curve["score"],
            mode="lines",
            name=literal(str(name)),
            line={
                "color": colors[first["role"], first["model"]],
                "width": 3 if first["role"] == "target" else 2,
                "dash": "solid" if first["tuned_on"] else "dot",
            },
            hovertemplate="%{y:.2f} at %{customdata:.2g}",
        )
    if len(frame):
        score_axis(figure.update_xaxes, frame["score"].min(), frame["score"].max(), "log")
    figure.update_yaxes(rangemode="tozero")
    return figure


def outside_in_words(frame: pd.DataFrame) -> str:
    """The number of scores outside the axis of a curve frame, as a sentence; "" for none."""
    counts = {str(name): int(curve["outside"].iloc[0]) for name, curve in frame.groupby("name", sort=False)}
    counts = {name: count for name, count in counts.items() if count}
    if not counts:
        return ""
    listed = "; ".join(f"{count:,} of {name}" for name, count in counts.items())
    return f"Scores outside the axis: {listed}."


def likeness_frame(report: Report, score: Score, *, tuned: bool) -> pd.DataFrame:
    """Each measure of similarity of each pair, with its interval.

    Returns
    -------
    pandas.DataFrame
        A row for each measure and pair: panel, a key of `LIKENESS`; name of the small model,
        and of the target if there are several; model, role and tuned_on, the small
        model's; value, low and high.
    """
    names, pairs = labels(report.readings), pairs_of(report, score, tuned=tuned)
    many = len({pair.target for pair in pairs}) > 1
    return _dots(
        (
            panel,
            names[pair.small] + (f" for {names[pair.target].rpartition(', ')[0]}" if many else ""),
            pair.small,
            getattr(pair.likeness, panel),
        )
        for panel in LIKENESS
        for pair in pairs
    )


def length_frame(report: Report) -> pd.DataFrame:
    """The rank correlation of each reading's scores with the response length; columns as `likeness_frame`.

    A panel is one of `SCORES`.
    """
    names = labels(report.readings)
    return _dots((each.score, names[each.reading], each.reading, each.correlation) for each in report.lengths)


def dot_figure(frame: pd.DataFrame, panel: Panel) -> go.Figure:
    """A dot with an interval for each name, hollow if the model is untouched; a line at chance.

    Parameters
    ----------
    frame
        The rows of one panel, from `likeness_frame` or `length_frame`.
    panel
        The panel, from `LIKENESS` or `LENGTHS`.
    """
    names = list(frame["name"])
    title = panel.unit.replace(" (", "<br>(")  # in two lines, because long names leave little width
    figure = base_figure(x=title, y="", height=112 + 32 * len(names), legend=False)
    if panel.chance is not None:
        figure.add_vline(
            x=panel.chance, line={"color": COLORS["dropped"], "width": 1.5, "dash": "dash"},
            annotation={"text": panel.at_chance, "font": {"size": 11}, "yanchor": "bottom", "y": 1},
        )  # fmt: skip
        figure.update_layout(margin_t=28)
    colors = _colors(frame)
    for index, row in enumerate(frame.to_dict("records")):
        if math.isfinite(row["value"]):
            _add_dot(figure, row, index, colors[row["role"], row["model"]])
    figure.update_layout(hovermode="closest")
    figure.update_xaxes(range=_range(frame, panel), zeroline=False)
    figure.update_yaxes(
        tickvals=list(range(len(names))), ticktext=[_two_lines(name) for name in names],
        range=[len(names) - 0.4, -0.6], showgrid=False, zeroline=False,
    )  # fmt: skip
    return figure


def dots_in_words(frame: pd.DataFrame) -> str:
    """Each name and its value, as a text alternative to the dots."""
    return "; ".join(
        f"{name} {number(value)}" for name, value in zip(frame["name"], frame["value"], strict=True)
    )


def _add_dot(figure: go.Figure, row: Mapping[str, Any], index: int, color: str) -> None:
    value, low, high = row["value"], row["low"], row["high"]
    if math.isfinite(low):
        figure.add_scatter(
            x=[low, high], y=[index, index], mode="lines", hoverinfo="skip",
            line={"color": color, "width": 2.5},
        )  # fmt: skip
    hollow = not row["tuned_on"]
    figure.add_scatter(
        x=[value], y=[index], mode="markers", hoverinfo="text",
        hovertext=[f"{literal(row['name'])}: {number(value)} ({number(low)} to {number(high)})"],
        marker={
            "size": 11, "color": color, "symbol": "circle-open" if hollow else "circle",
            "line": {"color": color, "width": 2.5 if hollow else 0},
        },
    )  # fmt: skip


def _range(mine: pd.DataFrame, panel: Panel) -> list[float]:
    """The range of the panel and of all values, with room for a dot at each end."""
    values = mine[["value", "low", "high"]].to_numpy(float)
    values = [*values[np.isfinite(values)].tolist()]
    low = min([*values, *([] if panel.low is None else [panel.low])], default=0.0)
    high = max([*values, *([] if panel.high is None else [panel.high])], default=1.0)
    room = 0.06 * ((high - low) or 1.0)
    return [low - room, high + room]


def _dots(rows: Iterable[tuple[str, str, Reading, Estimate]]) -> pd.DataFrame:
    return pd.DataFrame(
        [
            (panel, name, reading.model, reading.role, reading.tuned_on, *_three(estimate))
            for panel, name, reading, estimate in rows
        ],
        columns=["panel", "name", "model", "role", "tuned_on", "value", "low", "high"],
    )


def _readings_of(report: Report, score: Score, tuned: bool) -> list[Reading]:
    """The small models of the pairs shown, then their targets."""
    pairs = pairs_of(report, score, tuned=tuned)
    return list(dict.fromkeys([*(pair.small for pair in pairs), *(pair.target for pair in pairs)]))


def _density(values: np.ndarray, axis: np.ndarray) -> np.ndarray:
    """Gaussian kernel density of values on an axis; the width follows Silverman's rule."""
    quartiles = np.quantile(values, [0.25, 0.75])
    spread = min(values.std(), (quartiles[1] - quartiles[0]) / 1.34) or values.std()
    width = max(0.9 * spread * len(values) ** -0.2, 0.02)
    total = np.zeros(len(axis))
    for part in np.array_split(values, len(values) // 1000 + 1):
        total += np.exp(-0.5 * ((axis[:, None] - part) / width) ** 2).sum(axis=1)
    return total / (len(values) * width * math.sqrt(2 * math.pi))


def _colors(frame: pd.DataFrame) -> dict[tuple[str, str], str]:
    """A colour for each model of each role, in order."""
    colors: dict[tuple[str, str], str] = {}
    for role, palette in MODELS.items():
        models = dict.fromkeys(frame.loc[frame["role"] == role, "model"])
        colors |= {(role, model): palette[index % len(palette)] for index, model in enumerate(models)}
    return colors


def _three(estimate: Estimate) -> tuple[float, float, float]:
    return estimate.value, estimate.low, estimate.high


def _two_lines(name: str) -> str:
    """A reading's name over its state."""
    model, _, state = name.rpartition(", ")
    return f"{literal(model)}<br>{literal(state)}"
