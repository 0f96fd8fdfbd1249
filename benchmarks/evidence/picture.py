"""Pictures of how coresets train, drawn by Chromium from the file of `benchmarks.evidence`.

    python -m benchmarks.evidence.picture

It writes docs/measured/evidence_families.svg and evidence_rates.svg. Each ends with a digest of its
data, so that a test can detect a picture that is older than the file.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from benchmarks.evidence.page import BETTER, arms_of, difference, place_of, rates_of, values_of
from staff_engine.charts.style import COLORS
from staff_engine.evaluation.cells import FULL, label_of
from staff_engine.evaluation.report import mean_over_seeds

ROOT = Path(__file__).resolve().parents[2]
FILE = ROOT / "docs" / "measured" / "evidence.json"
WIDTH, ROW = 1080, 300
TASKS = ("docstrings", "kazakh", "chat")
FIGURES = ("loss", "metric")
FAMILY_COLORS = {"llama": COLORS["small"], "gemma": COLORS["target"], "mistral": COLORS["kept"]}
FAMILY_SYMBOLS = {"llama": "circle", "gemma": "square", "mistral": "diamond"}
ARM_COLORS = {
    "staff": COLORS["kept"], "STAFF, target tuned": "#0B5E47", "random": "#444444", "grand": "#D0474F",
    "el2n": COLORS["target"], "ccs": COLORS["small"], "d2": COLORS["accent"],
}  # fmt: skip


def families_frame(content: dict[str, Any]) -> pd.DataFrame:
    """Paired difference from random at the highest rate: a row for each task, family, method and figure.

    Returns
    -------
    pandas.DataFrame
        task, family, rate, arm, figure, value, low, high: nats, or points of 100.
    """
    rows = []
    for found in content["evaluations"]:
        rate = max(rates_of(found))
        for arm in arms_of([found]):
            for figure in BETTER:
                mean = difference(found, arm, "random", rate, figure) if arm != "random" else None
                if mean is not None:
                    rows.append(
                        (found["task"], found["family"], rate, arm, figure, mean.value, mean.low, mean.high)
                    )
    return pd.DataFrame(
        rows, columns=["task", "family", "rate", "arm", "figure", "value", "low", "high"]
    ).sort_values("task", key=lambda tasks: tasks.map(TASKS.index), kind="stable")


def families_figure(frame: pd.DataFrame) -> go.Figure:
    """A panel for each task and figure, a row for each method, a dot with its interval for each family."""
    tasks = list(dict.fromkeys(frame["task"]))
    arms = list(dict.fromkeys(frame["arm"]))
    families = list(dict.fromkeys(frame["family"]))
    figure = _panels([f"{task}, {frame['rate'].max():.0%} removed" for task in tasks])
    for (task, name, family), group in frame.groupby(["task", "figure", "family"], sort=False):
        offset = (families.index(family) - (len(families) - 1) / 2) * 0.22
        figure.add_scatter(
            x=group["value"],
            y=[arms.index(arm) + offset for arm in group["arm"]],
            error_x={
                "array": group["high"] - group["value"], "arrayminus": group["value"] - group["low"],
                "width": 0, "thickness": 1.5,
            },
            mode="markers", marker=_family_marker(family), showlegend=False,
            row=FIGURES.index(name) + 1, col=tasks.index(task) + 1,
        )  # fmt: skip
    for family in families:
        figure.add_scatter(x=[None], y=[None], mode="markers", marker=_family_marker(family), name=family)
    figure.add_vline(x=0, line={"color": "#444444", "width": 1})
    figure.update_yaxes(
        tickvals=list(range(len(arms))), ticktext=[label_of(arm) for arm in arms], showticklabels=False,
        range=[len(arms) - 0.5, -0.5], showgrid=False,
    )  # fmt: skip
    figure.update_yaxes(showticklabels=True, col=1)
    figure.update_xaxes(title_text="held-out loss − random, nats (left is better)", row=1)
    figure.update_xaxes(title_text="answers − random, of 100 (right is better)", row=2)
    return figure


def _family_marker(family: str) -> dict[str, Any]:
    return {"size": 7, "color": FAMILY_COLORS[family], "symbol": FAMILY_SYMBOLS[family]}


def rates_frame(content: dict[str, Any]) -> pd.DataFrame:
    """The mean over the seeds at each rate, for evaluations with several rates: a row per method and rate.

    Returns
    -------
    pandas.DataFrame
        place (task and family), arm, figure, rate (NaN for the full data), value.
    """
    rows = []
    for found in sorted(content["evaluations"], key=lambda each: TASKS.index(each["task"])):
        if len(rates_of(found)) < 2:
            continue
        for arm in (*arms_of([found]), FULL):
            for figure in BETTER:
                for rate in [None] if arm == FULL else rates_of(found):
                    values = values_of(found, arm, rate, figure)
                    if values:
                        mean = mean_over_seeds(list(values.values())).value
                        rows.append((place_of(found), arm, figure, rate, mean))
    return pd.DataFrame(rows, columns=["place", "arm", "figure", "rate", "value"]).astype({"rate": float})


def rates_figure(frame: pd.DataFrame) -> go.Figure:
    """A panel for each task, family and figure, a line for each method, a dashed line for the full data."""
    places = list(dict.fromkeys(frame["place"]))
    figure = _panels(places)
    for (where, arm, name), group in frame.groupby(["place", "arm", "figure"], sort=False):
        place = {"row": FIGURES.index(name) + 1, "col": places.index(where) + 1}
        if arm == FULL:
            figure.add_hline(y=group["value"].iloc[0], line={"color": "#888888", "dash": "dash"}, **place)
            continue
        figure.add_scatter(
            x=group["rate"] * 100, y=group["value"], mode="lines+markers",
            line={"color": ARM_COLORS.get(arm, "#888888"), "width": 3 if arm == "staff" else 1.7},
            marker={"size": 6}, name=label_of(arm), legendgroup=arm,
            showlegend=where == places[0] and name == "loss", **place,
        )  # fmt: skip
    figure.add_scatter(
        x=[None], y=[None], mode="lines", line={"color": "#888888", "dash": "dash"}, name="full data",
        row=1, col=1,
    )  # fmt: skip
    figure.update_xaxes(tickvals=sorted(frame["rate"].dropna().unique() * 100))
    figure.update_xaxes(title_text="removed, %", row=2)
    figure.update_yaxes(title_text="held-out loss, nats", row=1, col=1)
    figure.update_yaxes(title_text="answers, 0 to 100", row=2, col=1)
    return figure


def _panels(titles: list[str]) -> go.Figure:
    """Empty panels: a column for each title, a row for each figure."""
    figure = make_subplots(
        rows=len(FIGURES), cols=len(titles), horizontal_spacing=0.05, vertical_spacing=0.17,
        subplot_titles=titles * len(FIGURES),
    )  # fmt: skip
    figure.update_layout(
        template="plotly_white", width=WIDTH, height=ROW * len(FIGURES) + 60, paper_bgcolor="white",
        margin={"l": 10, "r": 20, "t": 80, "b": 10}, font={"size": 12, "color": "#222222"},
        legend={"orientation": "h", "x": 0, "y": 1.07, "yanchor": "bottom"},
    )  # fmt: skip
    figure.update_annotations(font_size=13)
    figure.update_xaxes(automargin=True, title_font_size=12, zeroline=False)
    figure.update_yaxes(automargin=True, title_font_size=12, zeroline=False)
    return figure


PICTURES = {
    "evidence_families": (families_frame, families_figure),
    "evidence_rates": (rates_frame, rates_figure),
}


def origin(content: dict[str, Any]) -> str:
    """The digest in a picture: the sha256 of its data."""
    said = json.dumps(content["evaluations"], sort_keys=True)
    return f"<!-- drawn from {FILE.name}, evaluations {hashlib.sha256(said.encode()).hexdigest()} -->"


def draw(content: dict[str, Any]) -> None:
    """Write the pictures to the folder of the file, except those without data yet."""
    from tests.helpers.driving import browser

    with browser() as chromium:
        page = chromium.new_page()
        for name, (to_frame, to_figure) in PICTURES.items():
            frame = to_frame(content)
            if frame.empty:
                continue
            page.set_content(to_figure(frame).to_html(include_plotlyjs=True, div_id="figure"))
            page.wait_for_function("document.querySelector('#figure .main-svg')")
            url = page.evaluate("Plotly.toImage(document.getElementById('figure'), {format: 'svg'})")
            svg = unquote(url.partition(",")[2])
            FILE.with_name(f"{name}.svg").write_text(f"{svg}\n{origin(content)}\n", encoding="utf-8")


if __name__ == "__main__":
    draw(json.loads(FILE.read_text()))
