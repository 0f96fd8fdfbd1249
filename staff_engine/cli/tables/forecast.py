"""A forecast as a table for the terminal."""

from __future__ import annotations

from rich.table import Table

from staff_engine.cli.progress import duration
from staff_engine.pipelines.forecast.extrapolation import Forecast


def forecast_table(forecast: Forecast) -> Table:
    """What a run will take, a row for each stage; of a forecast that is done."""
    table = Table(show_header=False, box=None, pad_edge=False)
    table.add_column(style="bold")
    table.add_column(justify="right")
    rows = [
        ("samples", _number(forecast.samples)),
        ("tokens", _number(forecast.tokens)),
        (
            "verified on the target",
            f"about {_number(forecast.verified)} (at most {_number(forecast.verified_at_most)})",
        ),
        *((f"time of {stage}", duration(seconds)) for stage, seconds in forecast.stages.items()),
        ("time in all", _time(forecast.total_seconds)),
        ("scoring everything on the target", _time(forecast.full_target_seconds)),
        ("saved against that", _saving(forecast.share_saved)),
        ("memory", f"{(forecast.memory_bytes or 0) / 1e9:,.1f} GB"),
    ]
    for row in rows:
        table.add_row(*row)
    return table


def _number(count: int | None) -> str:
    return "?" if count is None else f"{count:,}"


def _time(seconds: float | None) -> str:
    return "?" if seconds is None else duration(seconds)


def _saving(share: float | None) -> str:
    if share is None:
        return "?"
    return f"{share:.0%}" if share >= 0 else f"nothing: it takes {1 - share:.1f} times as long"
