import re
from collections import Counter

import pytest
from babel import Locale

from staff_engine.data.builtin.kazakh import INSTRUCTION, is_kazakh, kazakh

FORMATTED = {"date", "relative time", "amount of money", "number", "quantity"}


@pytest.fixture(scope="module")
def rows():
    return list(kazakh())


@pytest.fixture(scope="module")
def answers(rows):
    return {row["prompt"].removeprefix("Translate into Kazakh "): row["response"] for row in rows}


def test_there_are_over_four_thousand_pairs_and_no_prompt_twice(rows):
    assert len(rows) >= 4000
    assert len({row["prompt"] for row in rows}) == len(rows)


def test_the_two_sides_of_a_pair_differ_and_the_answer_is_kazakh(rows):
    for row in rows:
        english = row["prompt"].removeprefix(INSTRUCTION.format(kind=row["kind"], english=""))
        assert english and english != row["prompt"]
        assert row["response"] != english
        assert re.search("[\u0400-\u04ff]", row["response"]), row
        assert set(re.findall("[A-Za-z]+", row["response"])) <= {"A", "B", "F", "IV"}, row


def test_texts_have_plain_spaces_only(rows):
    for row in rows:
        for text in (row["prompt"], row["response"]):
            assert text == " ".join(text.split())


@pytest.mark.parametrize(
    ("prompt", "response"),
    [
        ("(territory): North America", "Солтүстік Америка"),
        ("(language): Fijian", "фиджи тілі"),
        ("(script): Cherokee", "чероки жазуы"),
        ("(currency): Kazakhstani Tenge", "Қазақстан теңгесі"),
        ("(currency, plural): Brunei dollars", "Бруней доллары"),
        ("(unit): kilometers per hour", "километр/сағат"),
        ("(unit, abbreviated): kcal", "ккал"),
        ("(month): July", "Шілде"),
        ("(month, abbreviated): May", "мам."),
        ("(day of the week): Friday", "жұма"),
        ("(quarter): 4th quarter", "IV тоқсан"),
        ("(era): Before Christ", "Біздің заманымызға дейін"),
        ("(place): Ho Chi Minh City", "Хошимин"),
        ("(place): Buenos Aires", "Буэнос-Айрес"),
        ("(time zone): Korean Daylight Time", "Корея жазғы уақыты"),
        ("(date): Friday, August 17, 2040", "2040 ж. 17 тамыз, жұма"),
        ("(relative time): in 9 hours", "9 сағаттан кейін"),
        ("(relative time): 30 seconds ago", "30 секунд бұрын"),
        ("(amount of money): 4,800 Surinamese dollars", "4 800 Суринам доллары"),
        ("(number): 12 thousand", "12 мың"),
        ("(quantity): 24 square feet", "24 шаршы фут"),
    ],
)
def test_a_pair_of_each_kind_reads_as_it_should(answers, prompt, response):
    assert answers[prompt] == response


def test_a_quantity_without_a_long_form_in_kazakh_has_the_short_one(answers):
    # Which number goes with a unit depends on the units that the release of CLDR has.
    inches = [
        answer for prompt, answer in answers.items() if re.fullmatch(r"\(quantity\): \S+ inches", prompt)
    ]
    assert inches and all(re.fullmatch(r"[\d ,]+ дюйм", answer) for answer in inches)


def test_the_kinds_are_in_proportion(rows):
    kinds = Counter(row["kind"] for row in rows)
    assert sum(kinds[kind] for kind in FORMATTED) < len(rows) / 2
    assert max(kinds.values()) < len(rows) / 5
    assert len(kinds) > 20


def test_the_first_rows_are_of_many_kinds(rows):
    assert len({row["kind"] for row in rows[:60]}) > 8


def test_english_with_two_translations_is_left_out(answers):
    assert not [prompt for prompt in answers if re.fullmatch(r"\(quantity\): \S+ drams", prompt)]
    assert "(unit): drams" in answers


@pytest.mark.parametrize(
    ("text", "is_one"),
    [
        ("теңге", True),
        ("А", True),
        ("B линиялық жазуы", True),
        ("2071 ж. IV тоқсан", True),
        ("250 angle-degree", False),
        ("жалған Bidi", False),
        ("120 G", False),
        ("36,6%", False),
        ("9 cантилитр", False),  # a Latin c
        ("", False),
    ],
)
def test_what_the_locale_lacks_or_misspells_is_told_from_kazakh(text, is_one):
    assert is_kazakh(text) is is_one


def test_names_that_only_english_has_are_left_out(answers):
    english, target = Locale("en"), Locale("kk")
    [only, *_] = [name for code, name in english.scripts.items() if code not in target.scripts]
    assert f"(script): {only}" not in answers


def test_it_is_the_same_each_time(rows):
    assert list(kazakh()) == rows
