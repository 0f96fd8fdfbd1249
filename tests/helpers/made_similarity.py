"""A finished similarity run without a model: made-up scores, compared by the engine's own functions."""

import os
import tempfile
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pandas as pd

from staff_engine.pipelines.similarity import run as similarity_run
from staff_engine.pipelines.similarity.report import Reading, Similarity, open_similarity
from staff_engine.plan import Plan
from staff_engine.runs.control import create_run
from staff_engine.runs.status import StageStatus, Status, now, save_status
from staff_engine.similarity_plan import SimilarityPlan
from staff_engine.system.files import write_json
from staff_engine.system.processes import start_time

SAMPLES = 80


def make_report(smalls=("near", "far"), targets=("target",), **more):
    """The report and the scores of made-up models: the first small one is near to every target."""
    plan = Plan.make(dataset="builtin:docstrings", small=smalls[0], target=targets[0])
    similarity = SimilarityPlan.make(smalls=tuple(smalls), targets=tuple(targets), sample=SAMPLES)
    with tempfile.TemporaryDirectory() as folder:
        run = Similarity(Path(folder), plan, similarity)
        _compare(run, **more)
        return run.report, run.scores


def older(report):
    """The report as a version made it that did not hold response length constant."""
    pairs = [each.model_copy(update={"likeness": replace(each.likeness, held=None)}) for each in report.pairs]
    ranks = [each.model_copy(update={"held": None}) for each in report.ranks]
    return report.model_copy(update={"pairs": tuple(pairs), "ranks": tuple(ranks)})


def make_finished_similarity(name="alike", *, smalls=("near", "far"), targets=("target",), tune=12, **more):
    """Make a finished similarity run under STAFF_HOME."""
    run = make_similarity(name, smalls=smalls, targets=targets, tune=tune)
    _compare(open_similarity(run.folder), tune=tune, **more)
    write_json(run.folder / "timings.json", {"compare": 62.0})
    save_status(run.folder, Status(state="finished", stage="compare", exit_code=0, started=now()))
    run.log.write_text("10:00:00 INFO finished\n", encoding="utf-8")
    return run


def make_similarity(name="alike", *, smalls=("near", "far"), targets=("target",), tune=12, **status):
    """Make a similarity run that has not finished, with what its status says."""
    plan = Plan.make(
        dataset="builtin:docstrings", limit=600, small=smalls[0], target=targets[0], tune_target=tune
    )
    similarity = SimilarityPlan.make(smalls=tuple(smalls), targets=tuple(targets), sample=SAMPLES)
    run = create_run(plan, name=name, similarity=similarity)
    if status:
        stages = (
            StageStatus(name="import", done=600, total=600, unit="rows", seconds=1.0),
            StageStatus(name=f"score {smalls[0]}, untouched", done=40, total=160, seconds=2.0),
        )
        at_hand = {"stage": stages[-1].name, "done": 40, "total": 160, "rate": 20.0, "eta": 6.0}
        save_status(run.folder, Status(**{**at_hand, "started": now(), "stages": stages, **status}))
    return run


def alive():
    """What the status of a run at work says of its process: that it is this one."""
    return {"pid": os.getpid(), "pid_started": start_time(os.getpid())}


def _compare(run, *, tune=12, noise=(0.2, 1.5), seed=0):
    """Score and compare: the first small model with the lesser noise, the others with the greater."""
    rng = np.random.default_rng(seed)
    hardness = rng.normal(0, 0.3, SAMPLES)
    tokens = rng.integers(4, 60, SAMPLES)
    readings, tables = [], []
    for role, names in (("small", run.compared.smalls), ("target", run.compared.targets)):
        for place, name in enumerate(names):
            spread = 0.1 if role == "target" else noise[min(place, 1)]
            for tuned in (0, 100 if role == "small" else tune)[: 2 if role == "small" or tune else 1]:
                readings.append(Reading(model=name, role=role, tuned_on=tuned))
                tables.append(_scores(hardness, tokens, spread, rng))
    with patch.object(similarity_run, "RESAMPLES", 20):
        similarity_run._report(run, readings, tables, SAMPLES, _Silent())


def _scores(hardness, tokens, spread, rng):
    effort = np.exp(hardness + rng.normal(0, 0.3 * spread, SAMPLES)) / np.sqrt(tokens / 30)
    return pd.DataFrame(
        {
            "response_tokens": tokens,
            "loss": np.exp(hardness + rng.normal(0, 0.3 * spread, SAMPLES)),
            "effort, all": 3 * effort,
            "effort, last_block": effort * rng.lognormal(0, 0.05, SAMPLES),
        },
        index=pd.Index(np.arange(SAMPLES) * 2, name="row_id"),
    )


class _Silent:
    def stage(self, *_, **__): ...
    def advance(self, *_): ...
