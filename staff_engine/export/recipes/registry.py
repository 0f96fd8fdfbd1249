"""The recipes: one registry entry for each tool that trains on an exported coreset."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from staff_engine.errors import PlanError
from staff_engine.export.recipes import axolotl, llama_factory, trl
from staff_engine.export.recipes.training import Training, training_of

if TYPE_CHECKING:
    from staff_engine.runs.results import Results


@dataclass(frozen=True)
class Recipe:
    """A file that a tool trains with."""

    name: str
    """Its name in commands and links: a-z and -."""
    label: str
    """The tool's name for people."""
    format: str
    """The export format that the recipe reads."""
    suffix: str
    """The end of the file's name."""
    text: Callable[[Training, str, str, str], str]
    """The content for a training, an exported file, the name of the recipe and a folder for the adapter."""

    def file_name(self, stem: str) -> str:
        """The name of the file beside a coreset with this name without suffix."""
        return f"{stem}.{self.name}{self.suffix}"

    def write(self, results: Results, samples: int, stem: str, data: str) -> str:
        """The content of the recipe for a coreset of a run.

        Parameters
        ----------
        samples
            Number of samples of the coreset.
        stem
            As in `file_name`.
        data
            The exported file, relative to the recipe, with /.

        Raises
        ------
        PlanError, ModelError
            If the run's target cannot be named or found.
        """
        return self.text(training_of(results, samples), data, self.file_name(stem), f"{stem}-adapter")


def _yaml(
    command: str,
    settings: Callable[[Training, str, str], dict[str, Any]],
    note: Callable[[Training], str],
) -> Callable[[Training, str, str, str], str]:
    """A recipe as a YAML file for a command that runs in its folder."""

    def text(training: Training, data: str, name: str, adapter: str) -> str:
        import yaml

        head = (
            f"Fine-tune {training.model!r} on {training.samples:,} samples of {training.source!r}.",
            "Run this in the folder of the file:",
            f"    {command} {name}",
            *training.notes(note(training)),
        )

        class Dumper(yaml.SafeDumper):
            """Writes texts of several lines as they are."""

        def block(dumper: Any, text: str) -> Any:
            style = "|" if "\n" in text else None
            return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)

        Dumper.add_representer(str, block)
        content = yaml.dump(
            settings(training, data, adapter), Dumper=Dumper, sort_keys=False, allow_unicode=True
        )
        return "".join(f"# {line}\n" for line in head) + "\n" + content

    return text


_RECIPES = (
    Recipe("trl", "TRL", "messages", ".py", trl.write),
    Recipe(
        "llama-factory", "LLaMA-Factory", "llama-factory", ".yaml",
        _yaml("llamafactory-cli train", llama_factory.settings, llama_factory.note),
    ),
    Recipe("axolotl", "Axolotl", "messages", ".yaml", _yaml("axolotl train", axolotl.settings, axolotl.note)),
)  # fmt: skip

RECIPES = {recipe.name: recipe for recipe in _RECIPES}
"""By name, in display order."""


def find_recipe(name: str, format: str) -> Recipe:
    """The recipe with a name, for an export in a format.

    Raises
    ------
    PlanError
        If the recipe is unknown, or reads another format.
    """
    if name not in RECIPES:
        raise PlanError(f"unknown recipe {name!r}; allowed: {', '.join(RECIPES)}")
    recipe = RECIPES[name]
    if format != recipe.format:
        raise PlanError(f"recipe {name!r} reads the format {recipe.format}, not {format}")
    return recipe
