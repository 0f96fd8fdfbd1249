from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

from staff_engine.data.tokenization import TokenizedSample, _as_batch
from staff_engine.errors import PlanError
from staff_engine.runs.results import open_results
from staff_engine.samples import detail as sample_detail
from staff_engine.samples.columns import sample_columns
from staff_engine.samples.detail import Piece, decode_pieces, standing, why
from staff_engine.selection.coreset import WITHIN
from staff_engine.selection.strata import DROPPED, DUPLICATE
from tests.helpers.made_run import UNSCORABLE, make_finished_run


def byte_tokenizer():
    """Every byte is a token; 256 is the end."""
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE({letter: place for place, letter in enumerate(letters)}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(["</s>"])
    return tokenizer


def encode(tokenizer, text):
    return tokenizer.encode(text, add_special_tokens=False).ids


class TestPieces:
    @pytest.mark.parametrize(
        "text", ["plain", "Schön 日本語 😀", "a\n\n\tb  c", "", "cut \ufffd here", "\ufffd", "e\u0301 👩‍👩‍👧"]
    )
    def test_their_texts_are_the_text(self, text):
        tokenizer = byte_tokenizer()
        ids = encode(tokenizer, text)
        pieces = decode_pieces(tokenizer, ids, [1.0] * len(ids))
        assert "".join(piece.text for piece in pieces) == text
        assert sum(piece.tokens for piece in pieces) == sum(piece.loss for piece in pieces) == len(ids)

    def test_bytes_of_one_character_are_one_piece_with_the_sum_of_their_losses(self):
        tokenizer = byte_tokenizer()
        pieces = decode_pieces(tokenizer, encode(tokenizer, "aé日"), [1, 2, 3, 4, 5, 6])
        assert [(piece.text, piece.loss, piece.tokens) for piece in pieces] == [
            ("a", 1, 1),
            ("é", 5, 2),
            ("日", 15, 3),
        ]

    def test_a_character_that_is_cut_off_is_shown_as_one(self):
        tokenizer = byte_tokenizer()
        end = tokenizer.token_to_id("</s>")
        pieces = decode_pieces(tokenizer, [*encode(tokenizer, "a日")[:-1], end], [1, 2, 3, 4])
        assert [(piece.text, piece.special) for piece in pieces] == [
            ("a", False),
            ("\ufffd", False),
            ("</s>", True),
        ]

    def test_a_first_token_keeps_the_blank_that_stands_before_it(self):
        words = {"▁": 0, "▁one": 1, "▁two": 2}
        tokenizer = Tokenizer(models.WordLevel(words, unk_token="▁"))
        tokenizer.decoder = decoders.Metaspace()
        assert [piece.text for piece in decode_pieces(tokenizer, [2], [1.0], context=[1])] == [" two"]


ROWS = [
    ([("user", "Hi <b>"), ("assistant", "Grüß 日")], None),
    ([("system", "s"), ("user", "a"), ("assistant", "one"), ("user", "b"), ("assistant", "two")], None),
    ([("user", "c"), ("assistant", "left out"), ("tool", "t"), ("assistant", "kept")], slice(1, None)),
]


@pytest.fixture
def written(tmp_path):
    """A run folder of the rows above, tokenized byte by byte, each byte's loss its place; and its results."""
    import json

    from staff_engine.data.dataset import import_dataset, open_imported

    source = tmp_path / "rows.jsonl"
    lines = [
        json.dumps({"messages": [{"role": role, "content": text} for role, text in turns]})
        for turns, _ in ROWS
    ]
    source.write_text("\n".join([*lines, '{"messages": 5}']) + "\n", encoding="utf-8")
    import_dataset(str(source), tmp_path / "dataset")
    tokenizer = byte_tokenizer()
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    end = tokenizer.token_to_id("</s>")
    samples, losses = [], []
    for turns, scored in ROWS:
        responses = [text for role, text in turns if role == "assistant"][scored or slice(None)]
        ids, mask = [], []
        for text in responses:
            body = [*encode(tokenizer, text), end]
            ids += [*encode(tokenizer, "### R:"), *body]
            mask += [False] * 6 + [True] * len(body)
        samples.append(TokenizedSample(ids, mask))
        losses.append([float(place) for place in range(sum(mask))])
    samples.append(TokenizedSample([], [], "no response"))
    schema = pa.schema(
        {
            "row_id": pa.int64(),
            "input_ids": pa.list_(pa.int32()),
            "response_mask": pa.list_(pa.bool_()),
            "problem": pa.string(),
            "cut": pa.bool_(),
            "template": pa.string(),
        }
    )
    with pa.OSFile(str(tmp_path / "tokens.arrow"), "wb") as sink, pa.ipc.new_stream(sink, schema) as writer:
        writer.write_batch(_as_batch(range(4), samples, schema))
    (tmp_path / "token_loss").mkdir()
    order = [2, 0, 1]
    values = pa.array([losses[row] for row in order], pa.large_list(pa.float16()))
    pq.write_table(
        pa.table({"row_id": order, "losses": values}),
        tmp_path / "token_loss/part-00000.parquet",
        row_group_size=2,
    )
    return SimpleNamespace(
        folder=tmp_path, imported=open_imported(tmp_path / "dataset"), unscorable={3: "no response"}
    )


class TestDetail:
    def test_tokens_lie_along_the_response_each_with_its_own_loss(self, written):
        detail = sample_detail.sample_detail(written, 0)
        assert [(turn.role, turn.text) for turn in detail.turns] == ROWS[0][0]
        assert detail.turns[0].pieces == ()
        assert detail.turns[1].pieces == (
            Piece("G", 0),
            Piece("r", 1),
            Piece("ü", 2 + 3, 2),
            Piece("ß", 4 + 5, 2),
            Piece(" ", 6),
            Piece("日", 7 + 8 + 9, 3),
            Piece("</s>", 10, special=True),
        )
        assert detail.no_losses is None

    def test_every_response_of_a_conversation_has_its_own(self, written):
        turns = sample_detail.sample_detail(written, 1).turns
        assert [[piece.loss for piece in turn.pieces] for turn in turns] == [
            [],
            [],
            [0, 1, 2, 3],
            [],
            [4, 5, 6, 7],
        ]

    def test_responses_before_the_cut_stand_plain(self, written):
        turns = sample_detail.sample_detail(written, 2).turns
        assert ["".join(piece.text for piece in turn.pieces) for turn in turns] == ["", "", "", "kept</s>"]
        assert turns[1].text == "left out"

    def test_a_row_without_turns_shows_its_line(self, written):
        detail = sample_detail.sample_detail(written, 3)
        assert detail.turns == () and detail.line == '{"messages": 5}'

    @pytest.mark.parametrize(
        "missing, said",
        [("token_loss/part-00000.parquet", "no token losses"), ("tokenizer.json", "tokenizer")],
    )
    def test_a_run_that_kept_less_says_so_and_shows_the_text(self, written, missing, said):
        (written.folder / missing).unlink()
        detail = sample_detail.sample_detail(written, 0)
        assert said in detail.no_losses
        assert [turn.text for turn in detail.turns] == ["Hi <b>", "Grüß 日"]
        assert not any(turn.pieces for turn in detail.turns)

    def test_losses_of_other_tokens_are_not_shown(self, written):
        path = written.folder / "token_loss/part-00000.parquet"
        values = pa.array([[1.0]], pa.large_list(pa.float16()))
        pq.write_table(pa.table({"row_id": [0], "losses": values}), path)
        assert "do not match" in sample_detail.sample_detail(written, 0).no_losses


class TestAlong:
    pieces = (Piece("b", 1), Piece("c", 1))

    @pytest.mark.parametrize(
        "text, before, after", [("abc", "a", ""), ("bcd", "", "d"), ("bc", "", ""), ("abcbc", "abc", "")]
    )
    def test_what_was_cut_off_stands_before_or_after(self, text, before, after):
        turn = sample_detail._along("assistant", text, self.pieces)
        assert (turn.before, turn.after, turn.altered) == (before, after, False)

    def test_a_blank_of_the_tokenizer_is_taken_off(self):
        turn = sample_detail._along("assistant", "bc", (replace(self.pieces[0], text=" b"), self.pieces[1]))
        assert [piece.text for piece in turn.pieces] == ["b", "c"]

    def test_what_a_template_made_another_text_is_shown_and_said(self):
        turn = sample_detail._along("assistant", "BC", self.pieces)
        assert turn.text == "bc" and turn.altered
        assert not sample_detail._along("assistant", " bc ", (*self.pieces[:1], Piece("c\n", 1))).altered


class TestStanding:
    scores = np.array([3.0, 1.0, np.nan, 1.0, 2.0])

    @pytest.mark.parametrize("row, below", [(0, 1.0), (1, 0.0), (3, 0.0), (4, 2 / 3)])
    def test_is_the_share_of_the_others_that_are_lower(self, row, below):
        found = standing(self.scores, row)
        assert found.below == pytest.approx(below) and found.others == 3

    def test_a_row_without_a_score_has_none(self):
        assert standing(self.scores, 2) is None

    def test_a_score_that_is_alone_has_nobody_below(self):
        assert standing(np.array([5.0]), 0).below == 0.0


class TestWhy:
    @pytest.fixture
    def case(self, tmp_path, monkeypatch):
        monkeypatch.setenv("STAFF_HOME", str(tmp_path / "home"))
        results = open_results(make_finished_run(tmp_path, 300).folder)
        selection = results.select()
        return sample_columns(results, selection), selection

    def test_names_the_stratum_its_size_and_its_budget(self, case):
        columns, selection = case
        for kept in (True, False):
            row = int(np.flatnonzero((columns.kept == kept) & (columns.strata >= 0))[0])
            stratum = columns.strata[row]
            size, budget = selection.sizes[stratum], selection.budget[stratum]
            ending = "and this one was drawn" if kept else "and this one was not drawn"
            start = "Kept" if kept else "Not kept"
            expected = f"{start}: stratum {stratum} keeps {budget} of its {size} samples, {ending}."
            assert why(columns, selection, row) == expected

    @pytest.mark.parametrize(
        "size, budget, said",
        [
            (3, 3, "Kept: stratum 0 keeps all of its 3 samples."),
            (1, 1, "Kept: stratum 0 keeps its only sample."),
            (1, 0, "Not kept: stratum 0 does not keep its only sample."),
            (2, 0, "Not kept: stratum 0 keeps 0 of its 2 samples."),
        ],
    )
    def test_all_or_nothing_of_a_stratum_is_said_so(self, size, budget, said):
        columns = SimpleNamespace(strata=np.zeros(3, int), kept=np.full(3, budget > 0))
        selection = SimpleNamespace(sizes=np.array([size]), budget=np.array([budget]))
        assert why(columns, selection, 0) == said

    def test_the_hardest_of_a_stratum_are_said_to_be_that(self, case):
        columns, selection = case
        row = int(np.flatnonzero(columns.kept)[0])
        assert why(columns, selection, row, within="hardest").endswith("and this one is among them.")

    def test_every_way_to_take_samples_has_its_words_and_another_is_an_error(self, case):
        columns, selection = case
        row = int(np.flatnonzero(columns.kept)[0])
        assert len({why(columns, selection, row, within=within) for within in WITHIN}) == len(WITHIN)
        with pytest.raises(PlanError, match="within is 'easiest'; allowed: random, hardest"):
            why(columns, selection, row, within="easiest")

    def test_those_left_out_are_counted(self, case):
        columns, selection = case
        row = int(np.flatnonzero(columns.strata == DROPPED)[0])
        assert f"one of the {(columns.strata == DROPPED).sum()} hardest" in why(columns, selection, row)

    def test_near_duplicates_name_the_row_that_stays(self, case):
        columns, selection = case
        columns = replace(
            columns,
            strata=np.where(np.isin(np.arange(300), [9, 12]), DUPLICATE, columns.strata),
            duplicates=np.array([[9, 4], [12, 1]]),
        )
        assert why(columns, selection, 12) == "Not kept: it is a near duplicate of row 1."
        codes, words = columns.reasons()
        assert [words[codes[row]] for row in (9, 12)] == [
            "near duplicate of row 4",
            "near duplicate of row 1",
        ]

    def test_the_unscorable_have_their_reason(self, case):
        columns, selection = case
        assert why(columns, selection, 300 - UNSCORABLE) == "It cannot be scored: no response."
