"""The wheel: what is in it, and that it works in an empty folder with no checkout near."""

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from email import message_from_string
from pathlib import Path

import pytest
from packaging.requirements import Requirement

import staff_engine

ROOT = Path(__file__).parent.parent
STUDIO = "staff_engine/studio"
MOST_BYTES = 60_000_000
LITTER = (
    "staff_engine/__pycache__/errors.pyc",
    "staff_engine/system/leftover.part",
    "pages/__pycache__/home.pyc",
    "assets/models/llama-nano/model.safetensors.part",
    "coreset.jsonl",
)
"""Files that work in a checkout leaves behind."""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The wheel, built from a copy of this checkout that has some litter."""
    pytest.importorskip("hatchling")
    folder = tmp_path_factory.mktemp("build")
    source = folder / "source"
    skipped = shutil.ignore_patterns(
        ".git", ".*_cache", ".hypothesis", ".venv", "venv", "docs", "pretraining"
    )
    shutil.copytree(ROOT, source, ignore=skipped)
    for name in LITTER:
        (source / name).parent.mkdir(exist_ok=True)
        (source / name).touch()
    command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(folder)]
    subprocess.run(command, cwd=source, check=True, capture_output=True)
    [built] = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """A folder like site-packages, with the wheel in it."""
    site = tmp_path_factory.mktemp("site")
    zipfile.ZipFile(wheel).extractall(site)
    return site


@pytest.fixture
def run_there(installed, tmp_path):
    """Run Python with the installed package from an empty folder; gives its output."""
    empty = tmp_path / "empty"
    empty.mkdir()
    environment = {**os.environ, "PYTHONPATH": str(installed), "STAFF_HOME": str(tmp_path / "home")}

    def run(*words):
        done = subprocess.run(
            [sys.executable, *words], cwd=empty, env=environment, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr[-2000:]
        return done.stdout

    return run


def names_in(wheel):
    return set(zipfile.ZipFile(wheel).namelist())


def metadata_of(wheel):
    archive = zipfile.ZipFile(wheel)
    [name] = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
    return message_from_string(archive.read(name).decode())


# What is in it


def test_the_wheel_is_small_enough_to_share(wheel):
    assert wheel.stat().st_size < MOST_BYTES


def test_it_adds_one_folder_to_site_packages(wheel):
    version = staff_engine.__version__
    tops = {name.partition("/")[0] for name in names_in(wheel)}
    assert tops == {"staff_engine", f"staff_studio-{version}.dist-info"}


def test_it_has_every_module_page_model_and_picture_and_nothing_else(wheel):
    expected = {path.relative_to(ROOT).as_posix() for path in (ROOT / "staff_engine").rglob("*.py")}
    for pattern in ("app.py", "pages/**/*.py", ".streamlit/*", "assets/models/**/*", "assets/*.svg"):
        paths = [path for path in ROOT.glob(pattern) if path.is_file()]
        assert paths
        expected |= {f"{STUDIO}/{path.relative_to(ROOT).as_posix()}" for path in paths}
    assert {name for name in names_in(wheel) if name.startswith("staff_engine/")} == expected


def test_it_carries_licence_and_notice(wheel):
    names = names_in(wheel)
    assert {"LICENSE", "NOTICE"} <= {name.rpartition("/")[2] for name in names if "/licenses/" in name}
    assert metadata_of(wheel)["License-Expression"] == "MIT"


def test_its_version_is_that_of_the_engine(wheel):
    assert metadata_of(wheel)["Version"] == staff_engine.__version__


# That it works


def test_an_installed_package_finds_its_models_and_leaves_pages_and_assets_to_others(run_there, installed):
    said = run_there(
        "-c",
        "import importlib.util, json\n"
        "from staff_engine.models.sources import builtin_models, find_model\n"
        "print(json.dumps([find_model(f'builtin:{name}').location for name in builtin_models()]))\n"
        "print(*(importlib.util.find_spec(name) for name in ('pages', 'assets', 'app')))",
    )
    places, specs = said.splitlines()
    assert len(json.loads(places)) == 6
    assert all(
        Path(place).is_relative_to(installed / STUDIO / "assets" / "models") for place in json.loads(places)
    )
    assert specs == "None None None"


def test_its_commands_work(run_there):
    assert run_there("-m", "staff_engine", "--version") == f"STAFF Studio {staff_engine.__version__}\n"
    assert run_there("-m", "staff_engine", "list").startswith("no runs in ")


def test_it_starts_processes_in_the_background(run_there, tmp_path):
    data = tmp_path / "rows.jsonl"
    data.write_text('{"prompt": "a", "response": "b"}\n' * 3)
    said = run_there(
        "-c",
        "import sys, time\n"
        "from staff_engine.data.inspection.findings import DataChoice\n"
        "from staff_engine.data.inspection.job import read_inspection, start_inspection\n"
        "key = start_inspection(DataChoice(dataset=sys.argv[1]))\n"
        "while read_inspection(key).state == 'running':\n"
        "    time.sleep(0.05)\n"
        "print(read_inspection(key).state, read_inspection(key).findings.rows)",
        str(data),
    )
    assert said == "finished 3\n"


def test_its_pages_open(run_there, installed):
    said = run_there(
        "-c",
        "import runpy, sys\n"
        "from functools import partial\n"
        "from streamlit.runtime.scriptrunner import script_runner\n"
        "from streamlit.testing.v1 import AppTest\n"
        "script_runner._mpa_v1 = partial(runpy.run_path, run_name='__main__')\n"  # see pages/conftest.py
        "sys.path.insert(0, sys.argv[1])\n"
        "app = AppTest.from_file(sys.argv[1] + '/app.py', default_timeout=60).run()\n"
        "for name in ('home', 'data', 'run', 'select', 'family'):\n"
        "    app.switch_page(f'pages/{name}.py').run()\n"
        "    print(name, [each.message for each in app.exception], app.title[0].value)",
        str(installed / STUDIO),
    )
    assert [line.split()[1] for line in said.splitlines()] == ["[]"] * 5, said


# What it says of itself


def lower_bounds():
    listed = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    for each in map(Requirement, listed):
        yield each.name, next(part.version for part in each.specifier if part.operator == ">=")


def test_the_requirements_are_the_packages_dependencies_with_torch_pinned():
    listed = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    lines = (ROOT / "requirements.txt").read_text().splitlines()
    required = [re.split(r"\s+#", line)[0] for line in lines if not line.startswith("#")]
    assert [line for line in required if not line.startswith("torch==")] == [
        line for line in listed if not line.startswith("torch>")
    ]


def test_every_lower_bound_is_tested():
    tested = (ROOT / "tests" / "lowest.txt").read_text().splitlines()
    assert tested[1:] == [f"{name}=={version}" for name, version in lower_bounds()]


PACKAGES = {"sklearn": "scikit-learn", "PIL": "pillow", "skimage": "scikit-image", "IPython": "ipython"}
"""Names in imports, and the packages that they come from, where these differ."""


def test_the_notice_names_every_package_that_the_built_in_models_read():
    notice = (ROOT / "NOTICE").read_text(encoding="utf-8")
    for card in (ROOT / "assets" / "models").glob("*/pretraining.json"):
        for module, version in json.loads(card.read_text())["corpus"]["packages"].items():
            name = f"{PACKAGES.get(module, module)} {version.partition('+')[0]}"
            assert re.search(rf"^{re.escape(name)} \(", notice, re.MULTILINE), name
