"""The order of the modules, and what they may not import."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ENGINE = Path(__file__).parent.parent / "staff_engine"

ORDER = [
    ["errors", "files", "hub", "memory"],
    ["plan"],
    ["split", "docstrings", "kazakh", "chat", "tasks", "records", "readers", "dataset"],
    ["tokens", "tokenization"],
    ["models", "presets", "forward", "finetune", "head", "lora", "scoring", "columns", "parts"],
    ["metrics", "evaluation"],
    ["strata", "drawing", "pool", "verification", "budget", "tuning", "coreset", "__init__"],
    ["baselines", "d2", "results", "methods", "coverage", "method_comparison"],
    ["cost", "comparison", "agreement", "similarity", "trust"],
    ["layouts", "lines", "tabular", "llama_factory", "decisions", "manifest", "export", "preview"],
    ["samples", "filters", "neighbours", "reading", "sample_detail"],
    ["status", "processes", "run_folders", "runs", "saved", "reporter", "worker"],
    ["sources", "first_rows", "duplicates", "findings", "inspection", "inspecting"],
    ["precision", "steps", "pipeline", "similarity_results", "similarity_run"],
    ["cells", "held_out", "cell_making", "comparison_results", "comparison_run"],
    ["comparison_estimate", "comparing"],
    ["counting", "extrapolation", "measuring", "forecast"],
    ["delivery", "work", "options", "commands", "downloads", "demo"],
    [
        "selected",
        "report",
        "forecast_table",
        "similarity_table",
        "similarity_words",
        "method_table",
        "comparison_table",
        "watching",
        "arguments",
        "compare_command",
        "cli",
        "__main__",
    ],
    ["charts.__init__", "charts.style", "charts.score_axis", "charts.scores", "charts.relations"],
    ["charts.selection", "charts.samples", "charts.embedding_map", "charts.tokens"],
    [
        "charts.comparison",
        "charts.data",
        "charts.progress",
        "charts.similarity",
        "charts.methods",
        "charts.evaluation",
    ],
]
MODULES = [module for group in ORDER for module in group]

HEAVY = {"torch", "transformers", "peft", "datasets", "accelerate"}


def imports(module):
    """Names of the engine's modules that a module imports, in functions too, but not for types only."""
    found = set()

    def visit(node):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            return
        if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "staff_engine":
            package = node.module.partition(".")[2]
            if package in MODULES:
                found.add(package)
            names = [f"{package}.{alias.name}".lstrip(".") for alias in node.names]
            found.update(name for name in names if name in MODULES)
        for child in ast.iter_child_nodes(node):
            visit(child)

    visit(ast.parse(source_of(module)))
    return found


def source_of(module):
    return (ENGINE / f"{module.replace('.', '/')}.py").read_text(encoding="utf-8")


def test_every_module_has_its_place_in_the_order():
    found = (path.relative_to(ENGINE).with_suffix("").as_posix() for path in ENGINE.rglob("*.py"))
    assert sorted(MODULES) == sorted(name.replace("/", ".") for name in found)


@pytest.mark.parametrize("module", MODULES)
def test_a_module_imports_only_from_those_above_it(module):
    above = set(MODULES[: MODULES.index(module)])
    assert imports(module) - above == set()


def test_the_contributors_guide_shows_the_same_order():
    guide = (ENGINE.parent / "CONTRIBUTING.md").read_text(encoding="utf-8")
    block = guide.partition("```\nerrors ")
    shown = re.findall(
        r"^([a-z_][a-z0-9_.]+) +[a-zA-Z]", "errors " + block[2].partition("```")[0], flags=re.MULTILINE
    )
    assert shown == [module for module in MODULES if "__" not in module]


@pytest.mark.parametrize("module", [m for m in MODULES if m != "__main__"])
def test_no_module_loads_torch_or_its_kin_when_it_is_imported(module):
    tree = ast.parse(source_of(module))
    top = {
        name.partition(".")[0]
        for node in tree.body
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in ([a.name for a in node.names] if isinstance(node, ast.Import) else [node.module or ""])
    }
    assert not top & HEAVY


def test_selecting_again_loads_neither_torch_nor_pandas():
    code = "import sys, staff_engine.cli, staff_engine.results, staff_engine.export, staff_engine.delivery\n"
    code += "print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ENGINE.parent
    )
    assert not (HEAVY | {"pandas", "scipy"}) & set(loaded.stdout.split())
    assert "staff_engine.coreset" in loaded.stdout.split()
