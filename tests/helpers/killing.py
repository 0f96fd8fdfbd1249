"""Kill a run in stage after stage, at points that a seed decides, and resume it."""

import random
import time

import psutil

from staff_engine.runs import control

SEED = 0
MODELS = {"small": "builtin:llama-nano", "target": "builtin:llama-mini"}
DATA = {"dataset": "builtin:docstrings", "limit": "60", "epochs": "1", "dtype": "float32", "batch-size": "2"}


def words(options):
    return [word for name, value in options.items() for word in (f"--{name}", value) if word is not None]


def kill_in_each(run, stages):
    """Kill the process of a run once in each stage, at a point that the seed decides, and resume it.

    Returns the number of kills; a stage can be over before it is noticed.
    """
    draw = random.Random(SEED)
    kills = 0
    for place, stage in enumerate(stages):
        if wait_for(run, stages[place:], draw.random()) == "finished":
            break
        process = psutil.Process(control.read_status(run).pid)
        process.kill()
        psutil.wait_procs([process], timeout=10)
        state = control.read_status(run).state
        if state == "finished":
            break
        assert state == "interrupted", stage
        kills += 1
        control.resume(run)
    assert wait_for(run, (), 1.0) == "finished"
    return kills


def wait_for(run, stages, share):
    """Wait until a run is this far in the first of the stages, in a later one, or at its end."""
    deadline = time.monotonic() + 120
    while True:
        status = control.read_status(run)
        assert status.state in ("queued", "running", "finished") and time.monotonic() < deadline, status
        if status.state == "finished" or status.stage in stages[1:]:
            return status.state
        far = status.done >= share * (status.total or 0)
        if stages and status.stage == stages[0] and status.state == "running" and far:
            return status.state
        time.sleep(0.005)
