import itertools

import pytest

from staff_engine.data.builtin.docstrings import docstrings, documented_functions

SOURCE = '''
class Shape:
    @property
    def area(self):
        """The area,
        in square metres.

        Slow.
        """
        # twice the half
        return self.width * 2 / 2

    def empty(self):
        """Nothing to summarise."""

    def one(self): "Short."; return 1


def plain():
    return 0


async def outer(x):
    """Wait for it."""

    @cache
    def inner(y):
        """Add them."""
        return x + y

    return inner
'''


def test_a_function_is_its_source_without_the_docstring_and_the_first_paragraph():
    pairs = list(documented_functions(SOURCE))
    assert pairs == [
        ("def area(self):\n    return self.width * 2 / 2", "The area, in square metres."),
        ("def one(self): return 1", "Short."),
        (
            "async def outer(x):\n    @cache\n    def inner(y):\n"
            '        """Add them."""\n        return x + y\n\n    return inner',
            "Wait for it.",
        ),
        ("def inner(y):\n    return x + y", "Add them."),
    ]


def test_what_is_no_module_is_an_error():
    with pytest.raises(SyntaxError):
        list(documented_functions("def"))


def test_the_task_is_the_same_each_time_and_starts_at_once():
    first, again = (list(itertools.islice(docstrings(), 200)) for _ in range(2))
    assert first == again
    assert all(row["prompt"] and row["response"] for row in first)
    assert not any("test" in row["module"].split("/") for row in first)


@pytest.mark.long
def test_the_task_has_some_thousand_samples_and_no_prompt_twice():
    rows = list(docstrings())
    assert 4000 < len(rows) < 9000
    assert len({row["prompt"] for row in rows}) == len(rows)
