"""The map of the embeddings: choosing the points, and drawing them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import plotly.graph_objects as go
from plotly.colors import sample_colorscale

from staff_engine.charts.style import COLORS, STRATA, base_figure
from staff_engine.selection.strata import DROPPED, DUPLICATE, NO_SCORE

if TYPE_CHECKING:
    import pandas as pd

    from staff_engine.samples.columns import SampleColumns

DRAWN = 20_000
"""Maximum number of points on the map."""

BEHIND = 4_000
"""Maximum number of grey points, which do not pass the filter."""

COLORINGS = ("stratum", "score", "kept")

GREY = {"color": COLORS["dropped"]}

SEEN = (0.25, 0.95)
"""The part of a colour scale that is visible on a white and on a near-black page."""


def score_range(scores: np.ndarray) -> tuple[float, float]:
    """The ends of a colour scale: the 1st and 99th percentile of the scores."""
    finite = scores[np.isfinite(scores)]
    if not len(finite):
        return 0.0, 1.0
    low, high = np.percentile(finite, [1, 99])
    return float(low), float(high)


def map_frame(
    coordinates: np.ndarray, columns: SampleColumns, passing: np.ndarray, *, drawn: int = DRAWN
) -> pd.DataFrame:
    """The points of the map: a proportional number from each stratum, always the same ones.

    Columns: row_id; x, y; stratum, score, kept; passing, whether the sample passes the
    filter. Samples that do not pass make up at most a fifth of `drawn`.

    Parameters
    ----------
    coordinates
        float (rows, 2), NaN for a row without coordinates.
    columns
        The columns of all rows.
    passing
        bool (rows,).
    drawn
        Maximum number of points.
    """
    import pandas as pd

    placed = np.isfinite(coordinates).all(axis=1)
    inside, outside = np.flatnonzero(placed & passing), np.flatnonzero(placed & ~passing)
    behind = _draw(outside, columns.strata, min(BEHIND, drawn // 5))
    rows = np.concatenate([behind, _draw(inside, columns.strata, drawn - len(behind))])
    return pd.DataFrame(
        {
            "row_id": rows,
            "x": coordinates[rows, 0],
            "y": coordinates[rows, 1],
            "stratum": columns.strata[rows],
            "score": columns.speculative[rows],
            "kept": columns.kept[rows],
            "passing": passing[rows],
        }
    )


def _draw(rows: np.ndarray, strata: np.ndarray, count: int) -> np.ndarray:
    """Sort the rows by stratum, shuffled within each, and take every n-th: a share of every stratum."""
    if len(rows) <= count:
        return rows
    shuffled = np.random.default_rng(0).permutation(rows)
    by_stratum = shuffled[np.argsort(strata[shuffled], kind="stable")]
    return np.sort(by_stratum[np.arange(count) * len(rows) // count])


def map_figure(
    frame: pd.DataFrame,
    *,
    color: str,
    explained: tuple[float, float],
    score_range: tuple[float, float],
    num_strata: int,
    total: int,
) -> go.Figure:
    """The map: a point for each sample of the frame.

    Parameters
    ----------
    frame
        From `map_frame`.
    color
        One of `COLORINGS`.
    explained
        Share of the embeddings' variance along each axis.
    score_range
        Scores at the ends of the colour scale; scores beyond an end have its colour.
    num_strata
        K.
    total
        Number of samples; if fewer are drawn, the figure states it.
    """
    figure = base_figure(
        x=f"First principal component ({explained[0]:.0%} of the variance)",
        y=f"Second principal component ({explained[1]:.0%})",
        height=560,
    )
    figure.update_layout(hovermode="closest", clickmode="event+select")
    figure.update_yaxes(zeroline=False)
    figure.update_xaxes(zeroline=False)
    if len(frame) < total:
        figure.add_annotation(
            x=1,
            y=1.02,
            xref="paper",
            yref="paper",
            xanchor="right",
            yanchor="bottom",
            showarrow=False,
            text=f"{len(frame):,} of {total:,} samples shown, a share of every stratum",
        )
    inside = frame["passing"].to_numpy()
    if not inside.all():
        _add_points(figure, frame[~inside], "filtered out", {**GREY, "opacity": 0.18})
    match color:
        case "kept":
            _color_by_kept(figure, frame[inside])
        case "score":
            _color_by_score(figure, _without_unscored(figure, frame[inside]), score_range)
        case "stratum":
            _color_by_stratum(figure, _without_unscored(figure, frame[inside]), num_strata)
        case _:
            raise ValueError(f"color is {color!r}; allowed: {', '.join(COLORINGS)}")
    figure.update_traces(marker={"size": 7 if len(frame) < 2_000 else 5 if len(frame) < 8_000 else 4})
    return figure


def _color_by_kept(figure: go.Figure, frame: pd.DataFrame) -> None:
    for kept, name, shade in ((False, "not kept", "dropped"), (True, "kept", "kept")):
        marker = {"color": COLORS[shade], "opacity": 0.85 if kept else 0.45}
        _add_points(figure, frame[frame["kept"].to_numpy() == kept], name, marker)


def _without_unscored(figure: go.Figure, frame: pd.DataFrame) -> pd.DataFrame:
    """The samples that have a score; the others are drawn as crosses."""
    unscored = (frame["stratum"] == NO_SCORE).to_numpy()
    _add_points(figure, frame[unscored], "without a score", {**GREY, "symbol": "cross"})
    return frame[~unscored]


def _color_by_score(figure: go.Figure, frame: pd.DataFrame, score_range: tuple[float, float]) -> None:
    _add_points(figure, frame, "samples", _scale(frame["score"], *score_range, "Score on the<br>small model"))


def _color_by_stratum(figure: go.Figure, frame: pd.DataFrame, num_strata: int) -> None:
    dropped = frame[frame["stratum"] == DROPPED]
    _add_points(figure, dropped, "hardest, dropped", {**GREY, "symbol": "x"})
    duplicates = frame[frame["stratum"] == DUPLICATE]
    _add_points(figure, duplicates, "near duplicates, left out", {**GREY, "symbol": "circle-open"})
    shown = frame[frame["stratum"] >= 0]
    marker = _scale(shown["stratum"], 0, max(num_strata - 1, 1), "Stratum,<br>hardest on top")
    _add_points(figure, shown, "in a stratum", marker)


def _scale(values: pd.Series, low: float, high: float, title: str) -> dict[str, object]:
    bar = {"title": {"text": title}, "thickness": 12, "len": 0.9, "outlinewidth": 0}
    middle = sample_colorscale(STRATA, np.linspace(*SEEN, 9).tolist())
    return {
        "color": values,
        "colorscale": middle,
        "cmin": low,
        "cmax": high,
        "colorbar": bar,
        "opacity": 0.85,
    }


def _add_points(figure: go.Figure, frame: pd.DataFrame, name: str, marker: dict[str, object]) -> None:
    if not len(frame):
        return
    figure.add_scattergl(
        x=frame["x"],
        y=frame["y"],
        mode="markers",
        name=f"{name} ({len(frame):,})",
        marker=marker,
        customdata=frame[["row_id", "stratum", "score", "kept"]],
        hovertemplate="row %{customdata[0]}<br>score %{customdata[2]:.3g}<extra>%{fullData.name}</extra>",
    )
