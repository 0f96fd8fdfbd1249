"""A forecast as a table for the terminal."""

from __future__ import annotations

from rich.table import Table

from staff_engine.pipelines.forecast.extrapolation import Forecast
from staff_engine.system.words import UNKNOWN, duration, gigabytes, whole


def forecast_table(forecast: Forecast) -> Table:
    """The cost of a run, with a row for each stage. The forecast must be done."""
    table = Table(show_header=False, box=None, pad_edge=False)
    table.add_column(style="bold")
    table.add_column(justify="right")
    rows = [
        ("samples", whole(forecast.samples)),
        ("tokens", whole(forecast.tokens)),
        (
            "verified on the target",
            f"about {whole(forecast.verified)} (at most {whole(forecast.verified_at_most)})",
        ),
        *((f"time of {stage}", duration(seconds)) for stage, seconds in forecast.stages.items()),
        ("total time", duration(forecast.total_seconds)),
        ("scoring everything on the target", duration(forecast.full_target_seconds)),
        ("time saved compared with that", _saving(forecast.share_saved)),
        ("memory", gigabytes(forecast.memory_bytes or 0)),
    ]
    for row in rows:
        table.add_row(*row)
    return table


def _saving(share: float | None) -> str:
    if share is None:
        return UNKNOWN
    return f"{share:.0%}" if share >= 0 else f"none: the run takes {1 - share:.1f} times as long"
