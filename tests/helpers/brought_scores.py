"""A finished run without a small model: scores of a file, which the pipeline itself has read."""

import numpy as np

from staff_engine.pipelines.coreset import execute
from staff_engine.plan import Plan
from staff_engine.runs.control import create_run
from staff_engine.runs.status import Status, now, save_status
from staff_engine.system.files import write_checked
from tests.helpers.made_export import write_rows
from tests.helpers.tiny_run import Watch

ROWS = 60
WITHOUT = (7, 30)
"""Rows that the file has no score for."""


def write_sources(folder):
    """A data set with a key for each row, and a file with two scores for most of them."""
    rows = [
        {"id": f"r{i}", "prompt": f"What is {i} + {i}?", "completion": f"It is {2 * i}." + " Yes." * (i % 5)}
        for i in range(ROWS)
    ]
    scores = np.random.default_rng(3).lognormal(size=(ROWS, 2))
    lines = [f"r{i},{scores[i, 0]},{scores[i, 1]}" for i in range(ROWS) if i not in WITHOUT]
    (folder / "scores.csv").write_text("\n".join(["id,perplexity,quality", *lines]) + "\n")
    return write_rows(folder / "rows.jsonl", rows), folder / "scores.csv"


def make_scores_run(folder, **settings):
    """The run and what its reporter saw; STAFF_HOME must be set."""
    data, scores = write_sources(folder)
    plan = Plan.make(
        dataset=str(data), scores=str(scores), score_key="id", score="own:perplexity", pruning_rate=0.5,
        **{"strata": 3, **settings},
    )  # fmt: skip
    run = create_run(plan, name="brought")
    watch = Watch()
    execute(run.folder, watch)
    save_status(run.folder, Status(state="finished", started=now(), finished=now(), exit_code=0))
    write_checked(run.folder / "timings.json", {"import": 1.0})
    return run, watch
