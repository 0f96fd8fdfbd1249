"""Forecasts: measured in a separate process before a run starts, and compared with the finished run.

The measurements are in `<home>/forecasts/<key>/`, as a background job. The key is made of the
settings that affect them, and of the size and time of the files that the settings name. So the
same measurement is not made twice. Only `make_forecast` loads torch.
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
from staff_engine.system.files import read_model, write_checked
from staff_engine.system.memory import peak_memory
from staff_engine.system.processes import start_time

FORECAST_FILE = "forecast.json"
ERROR_FILE = "forecast_error.json"
"""Files in a run's folder: its forecast and, once it has finished, the error of the forecast."""

COMMAND = (sys.executable, "-m", "staff_engine", "forecast")

KEPT = 40
"""Number of newest measurements to keep."""

VERSION = 3
"""Part of the key: raised when what is measured changes."""

FREE = (
    *SELECTION_FIELDS,
    "verify_per_stratum",
    "adaptive",
    "epochs",
    "learning_rate",
    "lora_alpha",
    "tune_target",
    "checkpoints",
    "processes",
)
"""Settings that do not affect a measurement; tune_target only by whether it is 0."""


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
    """Measure a plan in the background, unless it already was; returns the key.

    A measurement that is running, done or failed is not started again, so this can be called
    every time a page is drawn.

    Parameters
    ----------
    again
        Measure again if it is done or has failed.

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
    """Read a forecast or its progress; None if there is none. It has failed if its process died.

    Parameters
    ----------
    plan
        A plan whose epochs and selection settings can differ from those of the measured plan;
        the measured plan if None.
    """
    measurement = background.read(JOBS, key)
    if measurement is None:
        return None
    if measurement.measured is None:
        return Forecast(state=measurement.state, message=measurement.message)
    return extrapolate(plan or measurement.plan, measurement.measured)


def stop_forecast(key: str) -> None:
    """Stop and delete a running measurement, so that a run has the machine to itself."""
    background.stop(JOBS, key)


def make_forecast(
    plan: Plan, *, seconds: float = 20.0, say: Callable[[str], None] = lambda text: None
) -> Forecast:
    """Measure a plan in this process, and store the measurements.

    Parameters
    ----------
    seconds
        Total time for measured batches.
    say
        Receives a short description of the current step.

    Raises
    ------
    StaffError
        If the data, the plan or a model cannot be used; `read_forecast` then returns a failed forecast.
    """
    plan = with_absolute_paths(plan)
    key = key_of(plan)
    try:
        background.make_folder(JOBS, key, kept=KEPT)
    except OSError as error:
        raise RunError(f"the forecast cannot be written: {error}") from error
    pid = os.getpid()
    running = Measurement(plan=plan, pid=pid, pid_started=start_time(pid))

    def tell(text: str) -> None:
        background.save(JOBS, key, running.model_copy(update={"message": text}))
        say(text)

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # meant for the libraries' own callers
            measured = measure(plan, seconds=seconds, say=tell)
    except BaseException as error:
        reason = str(error) if isinstance(error, StaffError) else f"{type(error).__name__}: {error}"
        failed = {"state": "failed", "message": " ".join(reason.split())[:500]}
        background.save(JOBS, key, running.model_copy(update=failed))
        raise
    background.save(JOBS, key, running.model_copy(update={"state": "done", "measured": measured}))
    return extrapolate(plan, measured)


def keep_forecast(run: Run) -> bool:
    """Copy the forecast of a run's plan into its folder, if there is one; returns whether there was."""
    plan = read_record(run).plan
    forecast = read_forecast(key_of(plan), plan)
    if forecast is None or forecast.state != "done":
        return False
    write_checked(run.folder / FORECAST_FILE, forecast.model_dump(mode="json"))
    return True


def forecast_error(folder: Path) -> dict[str, Any] | None:
    """Compare a finished run with its forecast, and write the result to `forecast_error.json`.

    Must be called in the run's process, because it reads the memory of the process.

    Returns
    -------
    dict or None
        For total_seconds, each stage's seconds, verified, full_target_seconds and
        memory_bytes: the forecast, the actual value as `found`, and the error, forecast / found − 1.
        None if the run has no forecast.
    """
    path = folder / FORECAST_FILE
    if not path.exists():
        return None
    forecast = read_model(path, Forecast)
    timings, summary = load_timings(folder), load_summary(folder)
    actual: dict[str, float | None] = {stage: timings.get(stage) for stage in forecast.stages}
    expected: dict[str, float | None] = {**forecast.stages, "total_seconds": forecast.total_seconds}
    actual["total_seconds"] = sum(seconds for seconds in actual.values() if seconds)
    actual["verified"] = summary.verified
    actual["full_target_seconds"] = summary.full_target_seconds_estimate
    actual["memory_bytes"] = peak_memory()
    expected |= forecast.model_dump(include=set(actual) - set(expected))
    compared = {
        name: {"forecast": forecasted, "found": value, "error": forecasted / value - 1}
        for name, value in actual.items()
        if value and (forecasted := expected[name]) is not None
    }
    write_checked(folder / ERROR_FILE, compared)
    return compared


def key_of(plan: Plan) -> str:
    """The key of a measurement: the settings that affect it, and the files that they name."""
    settings = with_absolute_paths(plan).model_dump(exclude=set(FREE))
    settings["tunes_target"] = plan.tune_target > 0
    settings["ifd"] = plan.scores_alone
    files = [_state_of(Path(settings[name])) for name in ("dataset", "small", "target")]
    return background.key_of([VERSION, settings, files])


def _state_of(path: Path) -> tuple[int, int] | None:
    """Size and time of a file, or of a model's weights in a folder."""
    return background.state_of(path.iterdir() if path.is_dir() else [path])
