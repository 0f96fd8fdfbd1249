"""Numbers as people read them."""

import doctest

import pytest

from staff_engine.system import words


@pytest.mark.parametrize(
    "seconds, said",
    [
        (0.04, "0.0 s"),
        (9.94, "9.9 s"),
        (9.96, "10 s"),
        (59.6, "1 min 00 s"),
        (185, "3 min 05 s"),
        (7380, "2 h 03 min"),
        (None, "?"),
    ],
)
def test_durations_are_said_in_words(seconds, said):
    assert words.duration(seconds) == said


@pytest.mark.parametrize(
    "seconds, said",
    [
        (-3, "just now"),
        (59.9, "just now"),
        (60, "1 minute ago"),
        (7199, "1 hour ago"),
        (3 * 86_400 + 5, "3 days ago"),
    ],
)
def test_ages_are_said_in_words(seconds, said):
    assert words.ago(seconds) == said


@pytest.mark.parametrize(
    "count, said",
    [
        (0, "0 bytes"),
        (999, "999 bytes"),
        (1000, "1.0 kB"),
        (4_230_000, "4.2 MB"),
        (150_000, "150 kB"),
        (2.5e9, "2.5 GB"),
        (3.2e13, "32,000 GB"),
    ],
)
def test_sizes_are_said_in_words(count, said):
    assert words.size_in_words(count) == said


def test_memory_is_said_in_gigabytes_however_little_it_is():
    assert [words.gigabytes(count) for count in (4e7, 1e9, 1.26e12)] == ["0.0 GB", "1.0 GB", "1,260.0 GB"]


@pytest.mark.parametrize(("share", "said"), [(0.9, "90%"), (0.955, "95.5%"), (0, "0%"), (0.99995, "99.995%")])
def test_a_share_is_said_to_the_digit(share, said):
    assert words.percent(share) == said


@pytest.mark.parametrize(("share", "said"), [(0.534, "53%"), (0, "None"), (-1.15, "None"), (None, "?")])
def test_a_share_that_is_saved_is_never_below_nothing(share, said):
    assert words.saved_share(share) == said


@pytest.mark.parametrize(
    ("value", "said"), [(-0.456, "−0.46"), (-0.001, "0.00"), (float("nan"), "–"), (float("inf"), "–")]
)
def test_a_figure_has_a_true_minus_and_no_negative_nothing(value, said):
    assert words.number(value) == said


def test_counts_agree_with_their_nouns():
    assert words.counted(1, "sample") == "1 sample"
    assert words.counted(12_000, "sample") == "12,000 samples"
    assert words.counted(0, "stratum", "strata") == "0 strata"
    assert (words.noun(1, "stratum", "strata"), words.noun(2, "stratum", "strata")) == ("stratum", "strata")
    assert (words.whole(12_000), words.whole(0), words.whole(None)) == ("12,000", "0", "?")


def test_large_counts_are_said_in_millions():
    assert [words.millions(count) for count in (135_000_000, 1_700_000_000)] == ["135 million", "1.7 billion"]


@pytest.mark.parametrize(("names", "said"), [("", ""), ("a", "a"), ("ab", "a and b"), ("abc", "a, b and c")])
def test_names_are_listed(names, said):
    assert words.listed(list(names)) == said


def test_of_many_names_the_first_are_said():
    assert words.first_few("abcde") == "a, b, c, d, e"
    assert words.first_few("abcdef") == "a, b, c, d, e …"
    assert words.first_few("abc", most=2) == "a, b …"


def test_the_examples_are_right():
    assert doctest.testmod(words).failed == 0


def test_names_are_sorted_as_people_do():
    names = ["part-10", "part-2", "a", "part-2b", "part-02", "10"]
    assert sorted(names, key=words.natural_key) == ["10", "a", "part-2", "part-02", "part-2b", "part-10"]
