"""`builtin:docstrings`: functions of Python's standard library, and their docstrings."""

from __future__ import annotations

import ast
import inspect
import sysconfig
from collections.abc import Iterator
from pathlib import Path

DOCSTRING_TEST_FOLDERS = frozenset({"test", "tests", "idle_test", "site-packages", "__pycache__"})


def documented_functions(source: str) -> Iterator[tuple[str, str]]:
    """Every function of a Python module that has both a docstring and a body.

    Parameters
    ----------
    source
        Text of the module.

    Yields
    ------
    (prompt, response)
        The function's source without its docstring, dedented, and the docstring's
        first paragraph on one line; in source order.

    Raises
    ------
    SyntaxError, ValueError
        If the text is not a Python module.
    """
    lines = source.encode().splitlines(keepends=True)
    functions = [
        node
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]
    for node in sorted(functions, key=lambda node: (node.lineno, node.col_offset)):
        docstring = ast.get_docstring(node)
        if not docstring or len(node.body) < 2:
            continue
        first, second = node.body[0], node.body[1]
        if isinstance(second, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            start_of_rest = min([second.lineno, *(d.lineno for d in second.decorator_list)])
            rest = lines[start_of_rest - 1 : node.end_lineno]
            lead = b""
        else:
            rest = lines[second.lineno - 1 : node.end_lineno]
            # The docstring may share its line with what follows ("doc"; return 1).
            lead = b" " * second.col_offset
            rest[0] = rest[0][second.col_offset :]
        head = lines[node.lineno - 1 : first.lineno]
        head[-1] = head[-1][: first.col_offset]
        if not head[-1].strip():
            head.pop()
        elif lead:
            lead = b""
        text = b"".join([*head, lead, *rest]).decode()
        yield inspect.cleandoc(_indented_as_docstring(text)), " ".join(_first_paragraph(docstring))


def _indented_as_docstring(text: str) -> str:
    """Add an empty first line: cleandoc ignores the first line when it removes the common margin."""
    return "\n" + text.expandtabs(8)


def _first_paragraph(docstring: str) -> list[str]:
    return docstring.split("\n\n", maxsplit=1)[0].split()


def docstrings() -> Iterator[dict[str, str]]:
    """`builtin:docstrings`: describe a function of the standard library in a paragraph.

    Read from the running Python, without its tests; functions with the same source count
    once. Rows are sorted by file path, then by line.

    Yields
    ------
    dict
        `prompt`: source of the function without its docstring; `response`: the
        docstring's first paragraph; `module`: its file.
    """
    root = Path(sysconfig.get_paths()["stdlib"])
    seen: set[str] = set()
    for path in sorted(root.rglob("*.py"), key=lambda path: path.relative_to(root).as_posix()):
        relative = path.relative_to(root)
        if DOCSTRING_TEST_FOLDERS & set(relative.parts):
            continue
        try:
            pairs = list(documented_functions(path.read_text(encoding="utf-8")))
        except (SyntaxError, ValueError):
            continue  # lib2to3 and others contain files that are invalid on purpose
        for prompt, response in pairs:
            if response and prompt not in seen:
                seen.add(prompt)
                yield {"prompt": prompt, "response": response, "module": relative.as_posix()}
