"""`builtin:kazakh`: names, dates and quantities from English to Kazakh, from Babel's CLDR data."""

from __future__ import annotations

import datetime
import itertools
import math
import re
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Literal

from staff_engine.data.builtin.split import digest

if TYPE_CHECKING:
    from babel import Locale

Pair = tuple[str, str, str]
"""Kind, English, Kazakh."""

INSTRUCTION = "Translate into Kazakh ({kind}): {english}"

CYRILLIC = re.compile("[\u0400-\u04ff]")
LATIN_WORD = re.compile("[A-Za-z]{2,}")
MIXED_WORD = re.compile("[A-Za-z][\u0400-\u04ff]|[\u0400-\u04ff][A-Za-z]")
"""Some words in CLDR contain Latin letters that look like Cyrillic ones."""

ROMAN_NUMERAL = re.compile(r"\b[IVX]+\b")

FIRST_DAY = datetime.date(1925, 1, 1)
DAYS_SPANNED = 73_043
"""About 200 years, a prime number: steps of any size reach every day before one repeats."""
STEP = 28_657

DATE_FORMATS = {"full": 160, "long": 130, "medium": 90}
"""Number of dates in each of the locale's formats."""

DATE_SKELETONS = {"MMMMd": 80, "MMMEd": 80, "yMMMM": 80, "yMMMEd": 80, "yQQQQ": 50, "GyMMMd": 60}
"""Number of dates in each CLDR skeleton. None has a week number: the two locales count weeks differently."""

SECONDS = {
    "year": 365 * 86400, "month": 30 * 86400, "week": 7 * 86400, "day": 86400,
    "hour": 3600, "minute": 60, "second": 1,
}  # fmt: skip
"""The length of each unit of a relative time in Babel."""

FEW = (1, 2, 3, 4, 5, 6, 8, 9, 10, 11, 12, 15, 18, 20, 24, 25, 30, 36, 40, 48, 50, 60, 75, 90, 100)
MANY = (120, 144, 180, 200, 250, 365, 480, 500, 640, 720, 999, 1_000, 1_250, 4_800, 12_000, 75_500, 320_000)
FRACTIONS = (0.5, 1.2, 1.5, 2.25, 2.8, 3.75, 4.6, 8.1, 12.4, 36.6, 45.3, 99.9, 1_024.5)

Width = Literal["long", "short"]
WIDTHS: dict[Width, tuple[Width, ...]] = {"long": ("long", "short"), "short": ("short",)}
"""Width of a unit's name in English, and widths to try in Kazakh: CLDR omits a long form that equals the
short one."""


def kazakh() -> Iterator[dict[str, str]]:
    """`builtin:kazakh`: translate a name, a date, a time or a quantity into Kazakh.

    Names of territories, languages, scripts, currencies, units, cities, time zones and
    parts of the calendar; and texts that Babel formats: dates, relative times, amounts of
    money, quantities. Entries that are missing in the Kazakh locale are left out, because
    Babel would fall back to other text. English texts with several translations of the same
    kind are left out too. Non-breaking spaces become plain spaces. Rows are sorted by a hash
    of the prompt, so that the first rows cover all kinds.

    Yields
    ------
    dict
        `prompt`: an instruction that names the kind, and the English; `response`: the
        Kazakh; `kind`. Every prompt is unique.
    """
    from babel import Locale

    english, target = Locale("en"), Locale("kk")
    answers: dict[tuple[str, str], set[str]] = {}
    for pairs in (_names, _calendar, _places, _units, _dates, _relative_times, _amounts, _quantities):
        for kind, source, translation in pairs(english, target):
            source, translation = _plain(source), _plain(translation)
            if source and source != translation and is_kazakh(translation):
                answers.setdefault((kind, source), set()).add(translation)
    rows = [
        {"prompt": INSTRUCTION.format(kind=kind, english=source), "response": translation, "kind": kind}
        for (kind, source), (translation, *others) in answers.items()
        if not others
    ]
    yield from sorted(rows, key=lambda row: digest(row["prompt"]))


def is_kazakh(text: str) -> bool:
    """Whether a text has Cyrillic letters, and Latin ones only as Roman numerals or alone ("A")."""
    if not CYRILLIC.search(text) or MIXED_WORD.search(text):
        return False
    return not LATIN_WORD.search(ROMAN_NUMERAL.sub("", text))


def _plain(text: str) -> str:
    return " ".join(text.split())  # split() also splits at non-breaking spaces


def _common(kind: str, english: Mapping[Any, Any], target: Mapping[Any, Any]) -> Iterator[Pair]:
    """Entries that have a name in both."""
    for key, name in english.items():
        if key in target:
            yield kind, name, target[key]


def _in_both(
    kind: str, english: Locale, target: Locale, write: Callable[..., str], *what: Any, **how: Any
) -> Pair:
    return kind, write(*what, locale=english, **how), write(*what, locale=target, **how)


def _names(english: Locale, target: Locale) -> Iterator[Pair]:
    from babel.numbers import get_currency_name

    yield from _common("territory", english.territories, target.territories)
    yield from _common("language", english.languages, target.languages)
    yield from _common("script", english.scripts, target.scripts)
    yield from _common("currency", english.currencies, target.currencies)
    for code in target.currencies:
        yield _in_both("currency, plural", english, target, get_currency_name, code, count=2)


def _calendar(english: Locale, target: Locale) -> Iterator[Pair]:
    for width, kind in (("wide", "{}"), ("abbreviated", "{}, abbreviated")):
        for name, part in (("month", "months"), ("day of the week", "days"), ("quarter", "quarters")):
            names = (getattr(locale, part)["stand-alone"][width] for locale in (english, target))
            yield from _common(kind.format(name), *names)
        yield from _common(kind.format("era"), english.eras[width], target.eras[width])
    periods = (locale.day_periods["stand-alone"]["abbreviated"] for locale in (english, target))
    yield from _common("part of the day", *periods)


def _places(english: Locale, target: Locale) -> Iterator[Pair]:
    for zone, names in target.time_zones.items():
        if "city" in names:
            by_its_key = zone.rpartition("/")[2].replace("_", " ")
            yield "place", english.time_zones.get(zone, {}).get("city", by_its_key), names["city"]
    for zone, names in target.meta_zones.items():
        ours = english.meta_zones.get(zone, {})
        yield from _common("time zone", ours.get("long", {}), names.get("long", {}))


def _units(english: Locale, target: Locale) -> Iterator[Pair]:
    for unit, names in target.unit_display_names.items():
        for kind, (width, widths) in zip(("unit", "unit, abbreviated"), WIDTHS.items(), strict=True):
            translation = next((names[each] for each in widths if each in names), "")
            yield kind, english.unit_display_names.get(unit, {}).get(width, ""), translation


def _dates(english: Locale, target: Locale) -> Iterator[Pair]:
    from babel.dates import format_date, format_skeleton

    numbers = itertools.count()
    days = (FIRST_DAY + datetime.timedelta(days=number * STEP % DAYS_SPANNED) for number in numbers)
    for width, count in DATE_FORMATS.items():
        for day in itertools.islice(days, count):
            yield _in_both("date", english, target, format_date, day, width)
    for skeleton, count in DATE_SKELETONS.items():
        for day in itertools.islice(days, count):
            yield _in_both("date", english, target, format_skeleton, skeleton, day)


def _relative_times(english: Locale, target: Locale) -> Iterator[Pair]:
    from babel.dates import format_timedelta

    for unit, seconds in SECONDS.items():
        for count, sign in itertools.product(FEW, (1, -1)):
            delta = datetime.timedelta(seconds=sign * count * seconds)
            yield _in_both(
                "relative time", english, target, format_timedelta,
                delta, granularity=unit, threshold=math.inf, add_direction=True,
            )  # fmt: skip


def _amounts(english: Locale, target: Locale) -> Iterator[Pair]:
    from babel.numbers import format_compact_decimal, format_currency

    for index, code in enumerate(target.currencies):
        for amounts in (FEW, MANY):
            yield _in_both(
                "amount of money", english, target, format_currency, amounts[index % len(amounts)], code,
                format="#,##0", currency_digits=False, format_type="name",
            )  # fmt: skip
    for power, count in itertools.product((3, 6, 9, 12), FEW):
        number = count * 10**power
        yield _in_both("number", english, target, format_compact_decimal, number, format_type="long")


def _quantities(english: Locale, target: Locale) -> Iterator[Pair]:
    from babel.units import format_unit

    for index, unit in enumerate(target.unit_display_names):
        for numbers in (FEW, FRACTIONS):
            number = numbers[index % len(numbers)]
            for width, widths in WIDTHS.items():
                translations = (format_unit(number, unit, each, locale=target) for each in widths)
                translation = next(filter(is_kazakh, translations), "")
                yield "quantity", format_unit(number, unit, width, locale=english), translation
