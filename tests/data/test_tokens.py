import numpy as np
import pyarrow as pa
import pytest

from staff_engine.data.tokens import open_tokens
from staff_engine.scoring.parts import PartWriter, read_parts
from staff_engine.scoring.scorer import Scores

SCHEMA = pa.schema(
    {
        "row_id": pa.int64(),
        "input_ids": pa.list_(pa.int32()),
        "response_mask": pa.list_(pa.bool_()),
        "problem": pa.string(),
        "cut": pa.bool_(),
    }
)
ROWS = [
    {
        "row_id": 0,
        "input_ids": [1, 5, 6],
        "response_mask": [False, False, True],
        "problem": None,
        "cut": False,
    },
    {"row_id": 1, "input_ids": [], "response_mask": [], "problem": "no response", "cut": False},
    {"row_id": 4, "input_ids": [1, 7], "response_mask": [False, True], "problem": None, "cut": True},
    {
        "row_id": 5,
        "input_ids": [1, 8, 9, 2],
        "response_mask": [False, True, True, True],
        "problem": None,
        "cut": True,
    },
]


@pytest.fixture(params=[1, 2, 4])
def tokens(tmp_path, request):
    """The rows above, in chunks of several sizes."""
    path = tmp_path / "tokens.arrow"
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_stream(sink, SCHEMA) as writer:
        for start in range(0, 4, request.param):
            writer.write_batch(pa.RecordBatch.from_pylist(ROWS[start : start + request.param], schema=SCHEMA))
    return open_tokens(path)


def test_only_rows_without_a_problem_are_samples(tokens):
    assert tokens.row_ids.tolist() == [0, 4, 5]
    assert tokens.problems == {1: "no response"}


def test_lengths_and_cut_responses_are_counted(tokens):
    assert tokens.lengths.tolist() == [3, 2, 4]
    assert tokens.response_tokens.tolist() == [1, 1, 3]
    assert tokens.cut == 2


def test_a_sample_is_read_by_its_place(tokens):
    assert [tokens[place].input_ids.tolist() for place in range(len(tokens))] == [
        [1, 5, 6],
        [1, 7],
        [1, 8, 9, 2],
    ]
    assert tokens[2].response_mask.tolist() == [False, True, True, True]


def make_scores(efforts):
    column = np.array(efforts, dtype=float)
    losses = [np.full(place + 1, place, np.float16) for place in range(len(column))]
    return Scores(column, column + 1, column / 10, column, np.ones((len(column), 2), np.float16), losses)


def test_parts_are_numbered_on_and_read_as_one_table(tokens, tmp_path):
    for places, efforts in (([2, 0], [3.0, 1.0]), ([1], [2.0])):
        writer = PartWriter(tmp_path / "scores", tmp_path / "embedding")
        writer.add(tokens, np.array(places), make_scores(efforts), seconds=1.0)
        writer.flush()
    assert sorted(path.name for path in (tmp_path / "embedding").iterdir()) == [
        "part-00000.parquet",
        "part-00001.parquet",
    ]
    table = read_parts(tmp_path / "scores").to_pandas()
    assert table["row_id"].tolist() == [5, 0, 4]
    assert table["effort"].tolist() == [3.0, 1.0, 2.0]
    assert table["prompt_tokens"].tolist() == [1, 2, 1]
    assert table["seconds"].tolist() == [0.5, 0.5, 1.0]


def test_token_losses_lie_beside_the_row_that_they_belong_to(tokens, tmp_path):
    writer = PartWriter(tmp_path / "scores", token_losses=tmp_path / "token_loss")
    writer.add(tokens, np.array([2, 0]), make_scores([3.0, 1.0]), seconds=1.0)
    writer.flush()
    table = read_parts(tmp_path / "token_loss")
    assert table["row_id"].to_pylist() == [5, 0]
    assert table["losses"].to_pylist() == [[0.0], [1.0, 1.0]]


def test_a_score_that_is_not_finite_is_written_as_nan(tokens, tmp_path):
    writer = PartWriter(tmp_path / "scores")
    writer.add(tokens, np.array([0, 1]), make_scores([np.inf, 1.0]), seconds=1.0)
    writer.add_unscorable([9])
    writer.flush()
    table = read_parts(tmp_path / "scores", ["row_id", "effort"]).to_pandas()
    assert table["row_id"].tolist() == [0, 4, 9]
    assert table["effort"].isna().tolist() == [True, False, True]


def test_nothing_collected_writes_no_part(tmp_path):
    PartWriter(tmp_path / "scores").flush()
    assert read_parts(tmp_path / "scores").num_rows == 0
