"""Groups of near duplicates: against all pairs compared one by one, and what is not a near duplicate."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from staff_engine.data.repeats import by_tokens as near
from staff_engine.data.repeats import minhash
from staff_engine.data.repeats.by_tokens import kept_near_duplicates, near_duplicates
from staff_engine.data.tokens import TokenTable

SEQUENCES = st.lists(st.lists(st.integers(0, 3), min_size=1, max_size=9), min_size=1, max_size=12)


def arrow(sequences, row_ids=None, chunk=3):
    """A token table in several chunks, as a run's file has."""
    row_ids = list(range(len(sequences))) if row_ids is None else row_ids
    tables = [
        pa.table(
            {
                "row_id": pa.array(row_ids[start : start + chunk], pa.int64()),
                "input_ids": pa.array(sequences[start : start + chunk], pa.list_(pa.int32())),
                "response_mask": pa.array(
                    [[False] * len(each) for each in sequences[start : start + chunk]], pa.list_(pa.bool_())
                ),
                "problem": pa.array([None] * len(sequences[start : start + chunk]), pa.string()),
                "cut": pa.array([False] * len(sequences[start : start + chunk])),
            }
        )
        for start in range(0, len(sequences), chunk)
    ]
    return pa.concat_tables(tables)


def triples(sequence):
    return {tuple(sequence[start : start + 3]) for start in range(max(1, len(sequence) - 2))}


def slow_groups(sequences, threshold):
    """Connected components of all pairs, one by one."""
    groups = list(range(len(sequences)))
    for b in range(len(sequences)):
        for a in range(b):
            one, other = triples(sequences[a]), triples(sequences[b])
            if sequences[a] == sequences[b] or len(one & other) / len(one | other) >= threshold:
                low, high = sorted((groups[a], groups[b]))
                groups = [low if group == high else group for group in groups]
    return groups


@settings(deadline=None, max_examples=100)
@given(SEQUENCES, st.sampled_from([0.8, 0.9, 1.0]))
def test_groups_join_only_pairs_that_are_similar_enough(sequences, threshold):
    found = near_duplicates(TokenTable(arrow(sequences)), len(sequences), threshold=threshold)
    expected = slow_groups(sequences, threshold)
    for row, group in enumerate(found):
        assert group <= row and found[group] == group
        assert expected[group] == expected[row], "never more than all similar pairs"
    for row, sequence in enumerate(sequences):
        assert found[row] == found[sequences.index(sequence)], "equal tokens always belong together"


def corpus(count=400, length=60, seed=0):
    return np.random.default_rng(seed).integers(10, 3000, (count, length)).tolist()


def changed(sequence, *places):
    return [token + 5000 if place in places else token for place, token in enumerate(sequence)]


def test_samples_with_one_changed_token_are_found_among_others():
    rows = corpus()
    for copy in range(60):
        rows.append(changed(rows[copy], 5 + copy % 50))
    found = near_duplicates(TokenTable(arrow(rows, chunk=100)), len(rows), threshold=0.8)
    assert found[:400].tolist() == list(range(400))
    assert found[400:].tolist() == list(range(60))  # Jaccard 55 / 61
    assert near_duplicates(TokenTable(arrow(rows)), len(rows), threshold=0.95).tolist() == list(range(460))


def test_a_similarity_below_the_threshold_is_no_near_duplicate():
    rows = corpus(2)
    rows.append(changed(rows[0], *range(0, 60, 10)))  # Jaccard 41 / 75
    assert near_duplicates(TokenTable(arrow(rows)), 3, threshold=0.6).tolist() == [0, 1, 2]
    assert near_duplicates(TokenTable(arrow(rows)), 3, threshold=0.5).tolist() == [0, 1, 0]


def test_a_template_that_all_samples_share_does_not_make_them_similar():
    template = list(range(100_000, 100_200))
    own = corpus(300, 12)
    rows = [[*template, *each] for each in own]
    rows.append([*template, *changed(own[7], 11)])
    found = near_duplicates(TokenTable(arrow(rows, chunk=100)), len(rows), threshold=0.8)
    assert found[:300].tolist() == list(range(300))
    assert found[300] == 7, "without the template, one of 12 tokens differs"


def test_samples_of_nothing_but_a_template_are_joined_only_if_equal():
    template = list(range(100, 130))
    rows = [template[: 20 + place % 3] for place in range(300)]
    found = near_duplicates(TokenTable(arrow(rows, chunk=100)), len(rows), threshold=0.5)
    assert found.tolist() == [place % 3 for place in range(300)]


def test_many_alike_are_one_group(monkeypatch):
    rows = corpus(1, 80) * 40
    rows = [changed(row, place) for place, row in enumerate(rows)]
    rows += corpus(20, seed=3)
    found = near_duplicates(TokenTable(arrow(rows)), len(rows), threshold=0.8)
    assert found.tolist() == [0] * 40 + list(range(40, 60))


def test_blocks_do_not_change_the_groups(monkeypatch):
    rows = corpus(100)
    rows += [changed(row, 30) for row in rows[:30]]
    whole = near_duplicates(TokenTable(arrow(rows)), len(rows), threshold=0.8)
    monkeypatch.setattr(near, "SAMPLES_IN_BLOCK", 7)
    monkeypatch.setattr(near, "PAIRS_IN_BLOCK", 5)
    assert near_duplicates(TokenTable(arrow(rows)), len(rows), threshold=0.8).tolist() == whole.tolist()
    assert whole[100:].tolist() == list(range(30))


def test_rows_without_tokens_are_in_no_group():
    rows = corpus(4)
    rows[3] = rows[1]
    found = near_duplicates(TokenTable(arrow(rows, row_ids=[1, 3, 4, 8])), 10, threshold=0.8)
    assert found.tolist() == [0, 1, 2, 3, 4, 5, 6, 7, 3, 9]


@pytest.mark.parametrize("threshold", [0.5, 0.7, 0.8, 0.9, 0.95, 1.0])
def test_a_pair_at_the_threshold_is_compared_with_the_stated_probability(threshold):
    bands = minhash.bands_for(threshold)
    assert 1 - (1 - threshold ** (minhash.HASHES // bands)) ** bands >= minhash.RECALL


def test_the_tokens_of_some_samples_are_those_of_each():
    rows = corpus(20, 5)
    tokens = TokenTable(arrow(rows))
    ids, lengths = tokens.joined(np.array([0, 2, 3, 11, 19]))
    assert ids.tolist() == [token for row in (0, 2, 3, 11, 19) for token in rows[row]]
    assert lengths.tolist() == [5] * 5
    assert [each.tolist() for each in tokens.joined(np.zeros(0, np.int64))] == [[], []]


def test_the_groups_are_kept_and_made_again_for_another_threshold(tmp_path, monkeypatch):
    rows = corpus(30)
    rows.append(changed(rows[2], 3))
    path = tmp_path / "tokens.arrow"
    table = arrow(rows)
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    found = kept_near_duplicates(path, 31, threshold=0.8)
    assert found[30] == 2
    made = []
    monkeypatch.setattr(near, "near_duplicates", lambda *given, **how: made.append(how) or np.arange(31))
    assert kept_near_duplicates(path, 31, threshold=0.8).tolist() == found.tolist() and not made
    assert kept_near_duplicates(path, 31, threshold=0.9).tolist() == list(range(31))
    assert made == [{"threshold": 0.9}]
    (tmp_path / "near_duplicates.npz").write_bytes(b"damaged")
    assert kept_near_duplicates(path, 31, threshold=0.8).tolist() == list(range(31)) and len(made) == 2
