"""The options of commands that write a coreset, and the writing: to a file, to a folder, to the hub."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from staff_engine.cli.terminal import say
from staff_engine.errors import PlanError
from staff_engine.export.formats import DEFAULT_FORMAT, EXPORT_FORMATS
from staff_engine.export.recipes.registry import RECIPES, find_recipe

if TYPE_CHECKING:
    from staff_engine.runs.results import Results
    from staff_engine.selection.coreset import Selection

Out = Annotated[Path | None, typer.Option("--out", help="File to write the coreset to.", metavar="FILE")]
To = Annotated[
    Path | None,
    typer.Option(
        "--to",
        help="Folder to write the coreset to, with a dataset card: load_dataset and the hub read it.",
        metavar="DIR",
    ),
]
Push = Annotated[
    str | None,
    typer.Option(
        "--push", help="Upload the folder as a data set to the Hugging Face Hub.", metavar="ORG/NAME"
    ),
]
Private = Annotated[bool, typer.Option("--private", help="Make a new data set on the hub private.")]
ExportFormat = Annotated[
    str,
    typer.Option("--export-format", help=f"Format of the file: {', '.join(EXPORT_FORMATS)}.", metavar="F"),
]


def _format(flag: str) -> Any:
    formats = ", ".join(EXPORT_FORMATS)
    about = f"Format of the file: {formats}. Default: {DEFAULT_FORMAT}, or that of the recipe."
    return typer.Option(flag, help=about, metavar="F", show_default=False)


FormatOfSelect = Annotated[str | None, _format("--export-format")]
FormatOfExport = Annotated[str | None, _format("--format")]
RecipeName = Annotated[
    str | None,
    typer.Option(
        help="Also write a file that trains the run's target on the coreset with the run's settings:"
        f" {', '.join(RECIPES)}.",
        metavar="TOOL",
    ),
]
Overwrite = Annotated[
    bool, typer.Option("--overwrite", help="Replace files that are not from an earlier export, too.")
]
WithScores = Annotated[
    bool, typer.Option("--with-scores", help="Add each row's scores to the file, under _staff.")
]


@dataclass(frozen=True)
class Output:
    """Where a coreset is written, and how."""

    out: Path | None
    to: Path | None
    push: str | None
    private: bool
    given_format: str | None
    with_scores: bool
    overwrite: bool
    recipe: str | None = None

    @property
    def format(self) -> str:
        """The export format. Raises PlanError if the recipe is unknown or reads another one."""
        known = RECIPES.get(self.recipe or "")
        format = self.given_format or (known.format if known else DEFAULT_FORMAT)
        if self.recipe:
            find_recipe(self.recipe, format)
        return format

    @property
    def wanted(self) -> bool:
        """Whether anything is written."""
        return any((self.out, self.to, self.push))

    def check(self, results: Results) -> None:
        """Check before any work that everything can be written. Raises PlanError or StaffError."""
        from staff_engine.export.delivery import plan_delivery
        from staff_engine.export.hub.folder import check_folder
        from staff_engine.export.hub.push import check_repository

        plan = results.plan
        if self.recipe and not self.wanted:
            raise PlanError("--recipe is for a coreset that is written; give --out FILE or --to DIR too")
        if self.private and not self.push:
            raise PlanError("--private is for --push; give --push ORG/NAME too")
        if self.out:
            plan_delivery(
                self.out, self.format, self.with_scores, plan, overwrite=self.overwrite, recipe=self.recipe
            )
        if self.push:
            check_repository(self.push)
        if self.to or self.push:
            with tempfile.TemporaryDirectory() as made:
                folder = self.to.expanduser() if self.to else Path(made) / "coreset"
                check_folder(
                    folder, self.format, plan, with_scores=self.with_scores, overwrite=self.overwrite
                )

    def write(
        self, results: Results, selection: Selection, settings: dict[str, Any]
    ) -> tuple[list[str], list[str]]:
        """Write everything; return the places, and the warnings about the format."""
        from staff_engine.export.coreset import export_coreset
        from staff_engine.export.hub.folder import export_folder
        from staff_engine.export.hub.push import push_folder

        how: dict[str, Any] = {
            "format": self.format, "with_scores": self.with_scores, "overwrite": self.overwrite,
            "recipe": self.recipe,
        }  # fmt: skip
        places: list[str] = []
        warnings: list[str] = []
        if self.out:
            out = self.out.expanduser().absolute()
            warnings += export_coreset(results, selection, settings, out, **how)["warnings"]
            places.append(str(out))
        if self.to or self.push:
            with tempfile.TemporaryDirectory() as made:
                folder = self.to.expanduser().absolute() if self.to else Path(made) / "coreset"
                warnings += export_folder(results, selection, settings, folder, **how)["warnings"]
                if self.to:
                    places.append(str(folder))
                if self.push:
                    places.append(push_folder(folder, self.push, private=self.private))
        own = dict.fromkeys(warning for warning in warnings if warning not in selection.warnings)
        return places, list(own)


def say_warnings(warnings: list[str]) -> None:
    """Print warnings, one line each."""
    for warning in warnings:
        say(f"warning: {warning}", err=True)
