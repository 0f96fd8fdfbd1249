"""The rooms of the engine, the direction of imports between them, and what they may not import."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
ENGINE = ROOT / "staff_engine"

ROOMS = [
    "", "system", "data", "models", "scoring", "selection", "runs", "samples", "export", "pipelines",
    "evaluation", "charts", "cli",
]  # fmt: skip
"""A room imports from those before it only; "" is the root: errors and plans. No module is named here."""

MOST_MODULES = 15
"""In one folder, without its __init__."""

MODULES = sorted(path.relative_to(ENGINE).as_posix() for path in ENGINE.rglob("*.py"))
ENTRY_POINTS = {"__init__.py", "__main__.py"}
"""They open the engine to others, so they may import from every room."""

HEAVY = {"torch", "transformers", "peft", "datasets", "accelerate"}


def room_of(dotted):
    """The room of a dotted name inside the engine: "data" of "data.builtin.tasks"."""
    first = dotted.partition(".")[0]
    return first if (ENGINE / first).is_dir() else ""


def imports(module):
    """Dotted names inside the engine that a module imports, in functions too, but not for types only."""
    found = set()

    def visit(node):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            return
        if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "staff_engine":
            package = node.module.partition(".")[2]
            found.update(f"{package}.{alias.name}".lstrip(".") for alias in node.names)
        for child in ast.iter_child_nodes(node):
            visit(child)

    visit(tree_of(module))
    return found


def tree_of(module):
    return ast.parse((ENGINE / module).read_text(encoding="utf-8"))


def test_every_folder_of_the_engine_is_a_room():
    folders = {path.name for path in ENGINE.iterdir() if path.is_dir() and path.name != "__pycache__"}
    assert folders == set(ROOMS) - {""}


@pytest.mark.parametrize("module", [each for each in MODULES if each not in ENTRY_POINTS])
def test_a_module_imports_only_from_its_own_room_and_those_before_it(module):
    own = module.partition("/")[0] if "/" in module else ""
    allowed = ROOMS[: ROOMS.index(own) + 1]
    assert {name for name in imports(module) if room_of(name) not in allowed} == set()


def test_no_folder_has_more_modules_than_a_newcomer_can_take_in():
    counts = {}
    for module in MODULES:
        folder, _, name = module.rpartition("/")
        counts[folder] = counts.get(folder, 0) + (name != "__init__.py")
    assert {folder: count for folder, count in counts.items() if count > MOST_MODULES} == {}


def test_the_contributors_guide_shows_every_room():
    guide = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    rooms = guide.partition("staff_engine/\n")[2].partition("```")[0]
    shown = [line.strip().partition("/")[0] for line in rooms.splitlines()]
    assert [name for name in shown if name in ROOMS] == ROOMS[1:]


@pytest.mark.parametrize("module", [each for each in MODULES if each != "__main__.py"])
def test_no_module_loads_torch_or_its_kin_when_it_is_imported(module):
    top = {
        name.partition(".")[0]
        for node in tree_of(module).body
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in ([a.name for a in node.names] if isinstance(node, ast.Import) else [node.module or ""])
    }
    assert not top & HEAVY


def test_selecting_again_loads_neither_torch_nor_pandas():
    code = "import sys, staff_engine.cli.main, staff_engine.runs.results, staff_engine.export.delivery\n"
    code += "print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert not (HEAVY | {"pandas", "scipy"}) & set(loaded.stdout.split())
    assert "staff_engine.selection.coreset" in loaded.stdout.split()


def test_no_test_imports_another_test():
    for path in (ROOT / "tests").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import | ast.ImportFrom):
                names = [alias.name for alias in node.names]
                dotted = [*names, f"{getattr(node, 'module', None) or ''}"]
                assert not any(part.startswith("test_") for name in dotted for part in name.split(".")), path
