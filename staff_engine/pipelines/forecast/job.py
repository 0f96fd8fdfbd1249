"""Forecasts before a run starts: made in a process of their own, read at once, held against the run.

What was measured lies in `<home>/forecasts/<key>/`, a background job. The key is made of the
settings that matter to it, and of the size and time of the files that they name, so that the same
question is not measured twice. Nothing here loads torch but `make_forecast`.
"""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from staff_engine.errors import RunError, StaffError
from staff_engine.pipelines.forecast.extrapolation import Forecast, Measured, extrapolate
from staff_engine.pipelines.forecast.measuring import measure
from staff_engine.plan import SELECTION_FIELDS, Plan
from staff_engine.runs.folders import Run, read_record, with_absolute_paths
from staff_engine.runs.summary import load_summary, load_timings
from staff_engine.system import background
from staff_engine.system.files import read_model, write_json
from staff_engine.system.memory import peak_memory
from staff_engine.system.processes import start_time

FORECAST_FILE = "forecast.json"
ERROR_FILE = "forecast_error.json"
"""What a run's folder holds: its forecast, and once it is finished how far that was off."""

COMMAND = (sys.executable, "-m", "staff_engine", "forecast")

KEPT = 40
"""Measurements that are kept, the newest."""

VERSION = 3
"""Part of the key: raised when what is measured changes."""

FREE = (*SELECTION_FIELDS, "verify_per_stratum", "epochs", "learning_rate", "lora_alpha", "tune_target")
"""Settings that a measurement holds for, whatever they are; of the last, only whether it is 0 matters."""


class Measurement(BaseModel):
    """The content of a forecast's file; frozen."""

    model_config = ConfigDict(frozen=True)

    plan: Plan
    state: Literal["measuring", "done", "failed"] = "measuring"
    message: str = ""
    pid: int | None = None
    pid_started: float | None = None
    measured: Measured | None = None


JOBS = background.Jobs("forecasts", "measurement.json", Measurement, at_work="measuring")


def start_forecast(plan: Plan, *, again: bool = False) -> str:
    """See to it that a plan is measured, in the background where it was not before; returns the key.

    One that is being measured, is done or has failed is left as it is, so that this can be
    called as often as a page is drawn.

    Parameters
    ----------
    again
        Measure anew what is done or has failed.

    Raises
    ------
    RunError
        If no process can be started, or `<home>/forecasts` cannot be written.
    """
    plan = with_absolute_paths(plan)
    key = key_of(plan)
    options = background.as_options(plan.model_dump(exclude_defaults=True))

    def begun(pid: int, started: float) -> Measurement:
        return Measurement(plan=plan, message="starting", pid=pid, pid_started=started)

    try:
        background.start(
            JOBS, key, [*COMMAND, *options, "--json"], kept=KEPT, wanted=lambda known: again, begun=begun
        )
    except OSError as error:
        raise RunError(f"the forecast cannot be started: {error}") from error
    return key


def read_forecast(key: str, plan: Plan | None = None) -> Forecast | None:
    """How far a forecast is, or what it says; None if there is none. A dead process's has failed.

    Parameters
    ----------
    plan
        One whose epochs and selection settings may differ from those of the plan that was
        measured; that one where it is not given.
    """
    measurement = background.read(JOBS, key)
    if measurement is None:
        return None
    if measurement.measured is None:
        return Forecast(state=measurement.state, message=measurement.message)
    return extrapolate(plan or measurement.plan, measurement.measured)


def stop_forecast(key: str) -> None:
    """End a measurement that is being made, so that a run has the machine for itself, and forget it."""
    background.stop(JOBS, key)


def make_forecast(
    plan: Plan, *, seconds: float = 20.0, say: Callable[[str], None] = lambda text: None
) -> Forecast:
    """Measure a plan in this process, anew, and keep what was measured.

    Parameters
    ----------
    seconds
        For timed batches, in all.
    say
        Told in a few words what is being done.

    Raises
    ------
    StaffError
        If the data, the plan or a model does not allow it; `read_forecast` then says so too.
    """
    plan = with_absolute_paths(plan)
    key = key_of(plan)
    try:
        background.make_folder(JOBS, key, kept=KEPT)
    except OSError as error:
        raise RunError(f"the forecast cannot be written: {error}") from error
    pid = os.getpid()
    at_work = Measurement(plan=plan, pid=pid, pid_started=start_time(pid))

    def tell(text: str) -> None:
        background.save(JOBS, key, at_work.model_copy(update={"message": text}))
        say(text)

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # of the libraries, to their own callers
            measured = measure(plan, seconds=seconds, say=tell)
    except BaseException as error:
        reason = str(error) if isinstance(error, StaffError) else f"{type(error).__name__}: {error}"
        failed = {"state": "failed", "message": " ".join(reason.split())[:500]}
        background.save(JOBS, key, at_work.model_copy(update=failed))
        raise
    background.save(JOBS, key, at_work.model_copy(update={"state": "done", "measured": measured}))
    return extrapolate(plan, measured)


def keep_forecast(run: Run) -> bool:
    """Put the forecast of a run's plan into its folder, if there is one; whether there was."""
    plan = read_record(run).plan
    forecast = read_forecast(key_of(plan), plan)
    if forecast is None or forecast.state != "done":
        return False
    write_json(run.folder / FORECAST_FILE, forecast.model_dump(mode="json"))
    return True


def forecast_error(folder: Path) -> dict[str, Any] | None:
    """Hold a finished run against its forecast, and write it to `forecast_error.json`.

    To be called in the run's process, whose memory is read.

    Returns
    -------
    dict or None
        For total_seconds, each stage's seconds, verified, full_target_seconds and
        memory_bytes: what was forecast, what it was, and the error, forecast / found − 1.
        None if the run has no forecast.
    """
    path = folder / FORECAST_FILE
    if not path.exists():
        return None
    forecast = read_model(path, Forecast)
    timings, summary = load_timings(folder), load_summary(folder)
    found: dict[str, float | None] = {stage: timings.get(stage) for stage in forecast.stages}
    said: dict[str, float | None] = {**forecast.stages, "total_seconds": forecast.total_seconds}
    found["total_seconds"] = sum(seconds for seconds in found.values() if seconds)
    found["verified"] = summary.verified
    found["full_target_seconds"] = summary.full_target_seconds_estimate
    found["memory_bytes"] = peak_memory()
    said |= forecast.model_dump(include=set(found) - set(said))
    compared = {
        name: {"forecast": expected, "found": value, "error": expected / value - 1}
        for name, value in found.items()
        if value and (expected := said[name]) is not None
    }
    write_json(folder / ERROR_FILE, compared)
    return compared


def key_of(plan: Plan) -> str:
    """What a measurement is found by: the settings that matter to it, and the files they name."""
    settings = with_absolute_paths(plan).model_dump(exclude=set(FREE))
    settings["tunes_target"] = plan.tune_target > 0
    files = [_state_of(Path(settings[name])) for name in ("dataset", "small", "target")]
    return background.key_of([VERSION, settings, files])


def _state_of(path: Path) -> tuple[int, int] | None:
    """Size and time of a file, or of a model's weights in a folder."""
    return background.state_of(path.iterdir() if path.is_dir() else [path])
