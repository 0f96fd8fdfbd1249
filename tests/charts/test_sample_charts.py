from types import SimpleNamespace

import numpy as np
import pytest

from staff_engine.charts import embedding_map, tokens
from staff_engine.charts import samples as charts
from staff_engine.samples.detail import Piece, SampleDetail, TurnDetail


class TestPlace:
    scores = np.random.default_rng(0).lognormal(0, 1, 500)

    def test_every_score_is_in_one_bin(self):
        frame = charts.place_frame(np.append(self.scores, [np.nan, 0.0]))
        assert frame["count"].sum() == 501
        inside = [
            ((self.scores >= low) & (self.scores < high)).sum()
            for low, high in zip(frame["low"], frame["high"], strict=True)
        ]
        assert inside[1:-1] == frame["count"].tolist()[1:-1]

    @pytest.mark.parametrize("scores", [np.zeros(3), np.full(4, 2.5), np.array([1e-9]), np.array([np.nan])])
    def test_scores_that_do_not_differ_still_make_a_picture(self, scores):
        frame = charts.place_frame(scores)
        assert frame["count"].sum() == np.isfinite(scores).sum()
        assert (frame["low"] < frame["high"]).all()
        charts.place_figure(frame, None, model="small")

    def test_the_sample_stands_at_its_score(self):
        figure = charts.place_figure(charts.place_frame(self.scores), 2.0, model="target")
        assert figure.layout.shapes[0].x0 == 2.0
        assert figure.layout.annotations[0].x == pytest.approx(np.log10(2.0))
        assert "target" in figure.layout.xaxis.title.text

    @pytest.mark.parametrize("low, high", [(0.6, 1.9), (0.11, 9.7), (1e-5, 40.0), (3.0, 3.3), (1e-12, 1e9)])
    def test_the_axis_has_a_few_round_numbers(self, low, high):
        ticks = charts._log_ticks(low, high)
        assert 2 <= len(ticks) <= 8
        assert low <= min(ticks) and max(ticks) <= high


def columns(rows, strata=5):
    rng = np.random.default_rng(2)
    return SimpleNamespace(
        strata=rng.integers(-2, strata, rows).astype(np.int32),
        speculative=rng.lognormal(0, 1, rows),
        kept=rng.random(rows) < 0.1,
    )


class TestMap:
    rows = 4000

    @pytest.fixture
    def made(self):
        coordinates = np.random.default_rng(3).normal(size=(self.rows, 2)).astype(np.float32)
        coordinates[::100] = np.nan
        return coordinates, columns(self.rows)

    def test_draws_every_sample_that_has_a_place_where_there_is_room(self, made):
        coordinates, of_rows = made
        frame = embedding_map.map_frame(coordinates, of_rows, np.ones(self.rows, bool))
        assert sorted(frame["row_id"]) == np.flatnonzero(np.isfinite(coordinates[:, 0])).tolist()
        assert frame["x"].tolist() == coordinates[frame["row_id"], 0].tolist()

    def test_draws_of_every_stratum_its_share_and_the_same_ones_each_time(self, made):
        coordinates, of_rows = made
        everything = np.ones(self.rows, bool)
        frame = embedding_map.map_frame(coordinates, of_rows, everything, drawn=500)
        assert len(frame) == 500 == frame["row_id"].nunique()
        placed = np.isfinite(coordinates[:, 0])
        for stratum in range(-2, 5):
            share = (of_rows.strata[placed] == stratum).mean()
            assert (frame["stratum"] == stratum).sum() == pytest.approx(share * 500, abs=1)
        assert embedding_map.map_frame(coordinates, of_rows, everything, drawn=500).equals(frame)

    def test_those_that_pass_the_filter_have_most_of_the_room(self, made):
        coordinates, of_rows = made
        passing = of_rows.strata >= 2
        frame = embedding_map.map_frame(coordinates, of_rows, passing, drawn=500)
        assert frame["passing"].sum() == 400 and len(frame) == 500
        assert (frame["stratum"][frame["passing"]] >= 2).all()

    @pytest.mark.parametrize("color", embedding_map.COLORINGS)
    def test_every_point_is_drawn_once_and_carries_its_row(self, made, color):
        coordinates, of_rows = made
        frame = embedding_map.map_frame(coordinates, of_rows, of_rows.strata != 0, drawn=1000)
        figure = embedding_map.map_figure(
            frame, color=color, explained=(0.4, 0.2), score_range=(0.1, 3), num_strata=5, total=self.rows
        )
        drawn = np.concatenate([trace.customdata[:, 0] for trace in figure.data])
        assert sorted(drawn.tolist()) == sorted(frame["row_id"])
        assert "1,000 of 4,000 samples shown" in figure.layout.annotations[0].text

    def test_the_map_of_all_samples_says_nothing_of_a_draw(self, made):
        coordinates, of_rows = made
        frame = embedding_map.map_frame(coordinates, of_rows, np.ones(self.rows, bool))
        figure = embedding_map.map_figure(
            frame, color="kept", explained=(1, 0), score_range=(0, 1), num_strata=5, total=len(frame)
        )
        assert not figure.layout.annotations

    def test_a_colouring_that_there_is_not_is_refused(self, made):
        coordinates, of_rows = made
        frame = embedding_map.map_frame(coordinates, of_rows, np.ones(self.rows, bool))
        with pytest.raises(ValueError, match="color is 'loss'; allowed: stratum, score, kept"):
            embedding_map.map_figure(
                frame, color="loss", explained=(1, 0), score_range=(0, 1), num_strata=5, total=len(frame)
            )

    def test_a_scale_leaves_out_the_outermost_scores(self):
        low, high = embedding_map.score_range(np.append(np.arange(101.0), np.nan))
        assert (low, high) == (1, 99)
        assert embedding_map.score_range(np.array([np.nan])) == (0.0, 1.0)


class TestTokens:
    hostile = "<script>alert('&')</script>\"*_`"

    def test_every_character_of_a_text_is_escaped(self):
        turn = TurnDetail(
            "assistant", self.hostile, (Piece(self.hostile, 1.0),), before=self.hostile, after=self.hostile
        )
        html = tokens.tokens_html(turn)
        assert "<script" not in html and "alert(&#x27;&amp;&#x27;)" in html
        assert html.count("<span") == 1

    def test_the_colour_grows_with_the_loss_of_a_token_up_to_its_full_strength(self):
        def shade(loss, count=1):
            html = tokens.tokens_html(TurnDetail("assistant", "a", (Piece("a", loss, count),)))
            return float(html.partition("rgba(")[2].partition(")")[0].split(",")[3])

        assert shade(0.0) == 0
        assert shade(1.0) < shade(4.0) < shade(8.0) == shade(20.0) == tokens.STRONGEST
        assert shade(8.0, 2) == shade(4.0)

    def test_each_token_says_its_loss(self):
        html = tokens.tokens_html(TurnDetail("assistant", "é", (Piece("é", 2.5, 2),)))
        assert 'title="2.50 nats (2 tokens)"' in html

    def test_the_table_has_the_tokens_of_greatest_loss_first(self):
        pieces = tuple(Piece(str(loss), float(loss)) for loss in (3, 9, 1, 9))
        detail = SampleDetail(0, (TurnDetail("user", "x"), TurnDetail("assistant", "y", pieces)))
        frame = tokens.hardest_tokens_frame(detail, 3)
        assert frame.values.tolist() == [["9", 9.0, 2], ["9", 9.0, 4], ["3", 3.0, 1]]
