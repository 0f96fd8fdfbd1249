import numpy as np
import pytest

from staff_engine.charts.data import (
    conflicts_frame,
    lengths_figure,
    lengths_frame,
    problems_frame,
    repeats_frame,
)
from staff_engine.data.inspection.findings import Duplicates, Same, measure
from staff_engine.data.inspection.job import Problem

EVEN = measure(np.repeat(np.arange(100, 400), 3))
TAILED = measure(np.array([0, 0, *[12] * 90, 50_000]))
NARROW = measure(np.array([66, 67, 67, 68]))


def test_the_frame_holds_every_row_in_one_bar():
    frame = lengths_frame(EVEN)
    assert frame["rows"].sum() == 900
    assert (frame["high"].to_numpy()[:-1] == frame["low"].to_numpy()[1:]).all()


@pytest.mark.parametrize("lengths", [EVEN, TAILED, NARROW])
def test_bars_lie_between_their_edges_and_axes_say_their_units(lengths):
    frame = lengths_frame(lengths)
    figure = lengths_figure(frame, lengths, of="prompt")
    bars = figure.data[0]
    shift = -0.5 if lengths is NARROW else 0  # a bar that is one length stands over it
    assert np.allclose(np.asarray(bars.x) + bars.offset, frame["low"] + shift)
    assert np.allclose(bars.width, frame["high"] - frame["low"])
    assert figure.layout.xaxis.title.text.startswith("Length of the prompt (characters")
    assert figure.layout.yaxis.title.text == "Rows"
    assert "median" in figure.layout.annotations[0].text


def test_a_log_scale_says_so_and_counts_what_has_no_place_on_it():
    figure = lengths_figure(lengths_frame(TAILED), TAILED, of="response")
    assert figure.layout.xaxis.type == "log"
    assert "log scale" in figure.layout.xaxis.title.text
    assert figure.layout.annotations[0].x == pytest.approx(np.log10(12))  # as Plotly wants it on such an axis
    assert figure.layout.shapes[0].x0 == 12
    assert figure.layout.title.text == "2 empty ones are not shown on this scale"
    assert lengths_frame(TAILED)["rows"].sum() == 91


def test_tables_name_rows_by_what_they_are_counted_in():
    alike = Same(rows=7, numbers=(1, 2, 1000, 4, 5, 6, 7), prompt="p", responses=("r",))
    frame = repeats_frame(Duplicates(groups=1, rows=7, examples=(alike,)), "line")
    assert frame.to_dict("records") == [
        {"Count": 7, "Lines": "1, 2, 1,000, 4, 5 …", "Prompt": "p", "Response": "r"}
    ]
    different = Same(rows=2, numbers=(1, 2), prompt="p", responses=("r", "s"))
    frame = conflicts_frame(Duplicates(groups=1, rows=2, examples=(different,)), "row")
    assert frame.to_dict("records") == [
        {"Responses": 2, "Rows": "1, 2", "Prompt": "p", "One response": "r", "Another response": "s"}
    ]
    frame = problems_frame([Problem(3, "no response", "{}")], "line")
    assert frame.to_dict("records") == [{"Line": 3, "Problem": "no response", "Text": "{}"}]


def test_tables_of_nothing_have_their_columns():
    nothing = Duplicates(groups=0, rows=0, examples=())
    assert list(conflicts_frame(nothing, "row"))[:3] == ["Responses", "Rows", "Prompt"]
    assert list(repeats_frame(nothing, "row")) == ["Count", "Rows", "Prompt", "Response"]
