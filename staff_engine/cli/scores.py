"""The commands for scores that a user brings to a run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from staff_engine.cli.arguments import RunName, scored
from staff_engine.cli.terminal import say

app = typer.Typer(help="Add scores that other tools computed to a run; list or remove them.")


@app.command()
def add(
    run: RunName,
    file: Annotated[Path, typer.Argument(help="A Parquet, CSV or TSV file.", metavar="FILE")],
    key: Annotated[
        str,
        typer.Option(
            help="The column that names the row: row_id (its index in the imported data, from 0), or a field"
            " that the rows of the data have too.",
            metavar="COLUMN",
        ),
    ] = "row_id",
    reverse: Annotated[
        bool, typer.Option("--reverse", help="Higher values mean easier samples, for example a quality.")
    ] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace scores of the same name.")] = False,
) -> None:
    """Add every column of numbers of a file as a score, own:COLUMN. Use it with --score or --drop-by."""
    from staff_engine.runs.results import open_results
    from staff_engine.scoring.own_scores import add_own_scores
    from staff_engine.scoring.score_files import read_score_file

    results = open_results(scored(run).folder)
    rows = results.num_rows
    found = read_score_file(file, results.imported.folder, rows, key=key)
    added = add_own_scores(results.folder, found, rows, reverse=reverse, overwrite=overwrite)
    for each in added:
        say(each.sentence)
    if found.unknown:
        say(f"{found.unknown:,} rows of the file are not in the data and are ignored", err=True)


@app.command("list")
def list_(run: RunName) -> None:
    """List the scores of a run, one per line."""
    from staff_engine.runs.results import open_results

    for name in open_results(scored(run).folder).score_names:
        say(name)


@app.command()
def remove(
    run: RunName,
    score: Annotated[str, typer.Argument(help="A score of a file: own:NAME.", metavar="SCORE")],
) -> None:
    """Remove a score that was added from a file."""
    from staff_engine.scoring.own_scores import remove_own_score

    remove_own_score(scored(run).folder, score)
    say(f"score {score} is removed")
