"""Results of a run: which verified samples a selection uses."""

import numpy as np
import pytest

from staff_engine.runs.results import open_results
from staff_engine.runs.verification.drawing import to_verify
from tests.helpers.made_run import make_finished_run


def verify_more(results, drawn):
    """Add made-up scores of the target."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    known = pq.read_table(results.folder / "verification" / "part-00000.parquet")
    more = {name: pa.array(np.ones(len(drawn)), known.schema.field(name).type) for name in known.column_names}
    table = pa.table({**more, "row_id": pa.array(drawn)}, schema=known.schema)
    pq.write_table(table, results.folder / "verification" / "part-00001.parquet")
    return open_results(results.folder)


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("STAFF_HOME", str(tmp_path / "home"))


def test_an_own_draw_does_not_depend_on_what_was_verified_for_another_seed(tmp_path):
    results = open_results(make_finished_run(tmp_path).folder)
    before = results.select(own_draw=True)
    assert np.array_equal(before.indices, results.select().indices)
    assert not len(to_verify(results, seed=1))  # the strata have enough
    results = verify_more(results, to_verify(results, seed=1, own_draw=True))
    assert not len(to_verify(results, seed=1, own_draw=True))
    assert np.array_equal(results.select(own_draw=True).verified, before.verified)
    assert np.array_equal(results.select(own_draw=True).indices, before.indices)
    assert results.select().verified.sum() > before.verified.sum()


def test_an_own_draw_that_is_not_verified_uses_all_that_is(tmp_path):
    results = open_results(make_finished_run(tmp_path).folder)
    assert len(to_verify(results, seed=1, own_draw=True))
    assert np.array_equal(
        results.select(own_draw=True, seed=1).indices, results.select(own_draw=False, seed=1).indices
    )
