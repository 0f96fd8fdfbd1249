"""A finished run, a file of held-out samples, and a finished evaluation: made once for all tests."""

import json

import numpy as np
import pytest

from staff_engine.evaluation import run as evaluation_run
from staff_engine.evaluation.report import open_evaluation
from tests.helpers.evaluated_run import finished_source, make_run
from tests.helpers.tiny_run import Watch, make_sources


@pytest.fixture(scope="session")
def sources(tmp_path_factory):
    return make_sources(tmp_path_factory.mktemp("sources"))


@pytest.fixture(scope="session")
def source(tmp_path_factory, sources):
    return finished_source(tmp_path_factory.mktemp("source"), sources)


@pytest.fixture(scope="session")
def held_out(tmp_path_factory):
    rng = np.random.default_rng(1)
    rows = [
        {"prompt": "xyz " * int(rng.integers(1, 6)), "completion": chr(97 + i % 26) * int(rng.integers(1, 9))}
        for i in range(30)
    ]
    rows[3]["completion"] = ""
    path = tmp_path_factory.mktemp("held-out") / "held_out.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)))
    return str(path)


@pytest.fixture(scope="session")
def finished(tmp_path_factory, source, held_out):
    folder = make_run(tmp_path_factory.mktemp("run"), source, held_out)
    evaluation_run.execute(folder, Watch())
    return open_evaluation(folder)
