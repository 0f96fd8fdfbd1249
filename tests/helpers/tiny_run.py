"""Runs on tiny models: what they read, how they are watched and stopped, and what they leave."""

import json

import numpy as np

from staff_engine.plan import Plan
from staff_engine.runs.results import open_results
from staff_engine.system.files import write_json
from tests.helpers.tiny import save_model

ROWS = 60


class Stopped(BaseException):
    pass


class Watch:
    """A reporter that keeps what it is told, and can stop a run after so many units of a stage."""

    def __init__(self, stop_in=None, after=0):
        self.stages, self.done = [], {}
        self.stop_in, self.after = stop_in, after

    def stage(self, stage, total=0, done=0):
        self.stages.append(stage.name)
        self.done[stage.name] = done

    @property
    def cancelled(self):
        return bool(self.stages) and self.stages[-1] == self.stop_in and self.done[self.stop_in] >= self.after

    def advance(self, count=1):
        self.done[self.stages[-1]] += count
        if self.cancelled:
            raise Stopped

    def message(self, text):
        pass


def make_sources(folder):
    """A small model, a target and a data set with two rows that cannot be scored."""
    rng = np.random.default_rng(0)
    rows = [
        {
            "prompt": "abc " * int(rng.integers(1, 6)),
            "completion": chr(97 + i % 26) * int(rng.integers(1, 12)),
        }
        for i in range(ROWS)
    ]
    rows[7]["completion"] = ""
    lines = [json.dumps(row) for row in rows]
    lines[20] = '{"prompt": "broken'
    (folder / "data.jsonl").write_text("\n".join(lines))
    small = save_model(folder / "small", seed=0)
    target = save_model(folder / "target", seed=1, num_hidden_layers=4)
    return {"dataset": str(folder / "data.jsonl"), "small": small, "target": target}


def make_run(folder, sources, **changes):
    settings = {
        **sources, "epochs": 2, "strata": 6, "verify_per_stratum": 2, "pruning_rate": 0.8, "device": "cpu",
        "tokens_per_batch": 256, "learning_rate": 1e-2,
    }  # fmt: skip
    folder.mkdir(exist_ok=True)
    plan = Plan.make(**{**settings, **changes})
    write_json(folder / "plan.json", {"plan": plan.model_dump(mode="json")})
    return folder


def contents(folder):
    results = open_results(folder)
    return results.speculative, results.verified_ids, results.verified_scores, results.select().indices
