"""Command-line options made from the plan's fields, so that nothing is defined twice."""

from __future__ import annotations

import functools
import inspect
import json
import types
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import annotated_types
import typer

from staff_engine.errors import PlanError
from staff_engine.plan import SELECTION_FIELDS, Plan
from staff_engine.presets import PRESETS

PANELS = {
    "Data": (
        "dataset", "format", "prompt_column", "response_column", "prompt_template", "conversation_column",
        "roles", "reasoning", "bad_labels", "encoding", "delimiter", "duplicates", "apart_from",
        "split", "limit",
    ),
    "Models": (
        "small", "target", "scores", "score_key", "chat_template", "device", "dtype", "quantize",
        "device_map", "processes", "shard_target", "attn_implementation",
    ),
    "Fine-tuning": (
        "max_length", "epochs", "batch_size", "learning_rate", "lora_rank", "lora_alpha", "lora_targets",
        "tune_target",
    ),
    "Scoring": ("checkpoints", "scored_parameters", "tokens_per_batch", "ifd"),
    "Selection": (*SELECTION_FIELDS, "verify_per_stratum", "adaptive"),
}  # fmt: skip

METAVARS = {int: "INTEGER", float: "NUMBER", str: "TEXT"}
"""What the help shows for a value, by the type of the setting."""


def takes_settings(
    names: Sequence[str], *, default: str | None = None
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Give a command an option for each of these fields of the plan.

    The command's parameter `settings` receives the given ones: text, or a bool for a switch. The
    plan parses and checks them.

    Parameters
    ----------
    default
        The default to show in the help, in words; the plan's defaults if None.
    """

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        own = inspect.signature(command, eval_str=True).parameters.values()
        given_names = (*(["preset"] if "score" in names and "within" in names else []), *names)
        in_file = any(parameter.name == "plan_file" for parameter in own)
        added = [
            inspect.Parameter(
                name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=_option(name, default, in_file)
            )
            for name in given_names
        ]

        @functools.wraps(command)
        def with_settings(**arguments: Any) -> Any:
            given = {name: arguments.pop(name) for name in given_names}
            return command(
                settings={name: value for name, value in given.items() if value is not None}, **arguments
            )

        parameters = [
            *(p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in own if p.name != "settings"),
            *added,
        ]
        vars(with_settings).pop("__wrapped__")
        with_settings.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        with_settings.__annotations__ = {p.name: p.annotation for p in parameters}
        return with_settings

    return decorate


def read_plan_file(path: Path) -> dict[str, Any]:
    """Read settings from a JSON file: those of a plan, or a run's plan.json.

    Raises
    ------
    PlanError
        If it cannot be read or is not a JSON object.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise PlanError(f"plan file {str(path)!r} cannot be read: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        raise PlanError(f"plan file {str(path)!r} is not JSON: {error}") from None
    if isinstance(content, dict) and isinstance(content.get("plan"), dict):
        content = content["plan"]
    if not isinstance(content, dict):
        raise PlanError(
            f"plan file {str(path)!r} contains a {type(content).__name__}; it needs an object of settings"
        )
    return content


def _option(name: str, default: str | None, in_file: bool) -> Any:
    if name == "preset":
        return _preset_option()
    field = Plan.model_fields[name]
    sentences = [field.description or "", _bounds(field.metadata)]
    if default is not None:
        sentences.append(f"Default: {default}.")
    elif field.is_required():
        sentences.append("Required, here or in --plan." if in_file else "Required.")
    elif field.default is not None:
        sentences.append(f"Default: {field.default}.")
    flag = "--" + name.replace("_", "-")
    if field.annotation is bool:
        return Annotated[
            bool | None,
            typer.Option(
                f"{flag}/--no-{flag[2:]}",
                help=field.description,
                show_default=False,
                rich_help_panel=_panel(name),
            ),
        ]
    return Annotated[
        str | None,
        typer.Option(
            flag,
            help=" ".join(filter(None, sentences)),
            metavar=_metavar(field.annotation),
            show_default=False,
            rich_help_panel=_panel(name),
        ),
    ]


def _panel(name: str) -> str:
    return next(panel for panel, fields in PANELS.items() if name in fields)


def _preset_option() -> Any:
    presets = "; ".join(f"{preset.name}: {preset.sentence.rstrip('.')}" for preset in PRESETS.values())
    return Annotated[
        str | None,
        typer.Option(
            "--preset",
            help=f"Selection settings under one name. {presets}. Other options override it.",
            metavar="|".join(PRESETS),
            show_default=False,
            rich_help_panel="Selection",
        ),
    ]


def _metavar(annotation: Any) -> str:
    if get_origin(annotation) in (Union, types.UnionType):
        annotation = next(kind for kind in get_args(annotation) if kind is not types.NoneType)
    if get_origin(annotation) is Literal:
        return "|".join(get_args(annotation))
    if annotation not in METAVARS:
        raise TypeError(f"a setting is of type {annotation}; allowed: {', '.join(map(str, METAVARS))}")
    return METAVARS[annotation]


def _bounds(metadata: Sequence[Any]) -> str:
    words = {
        annotated_types.Ge: lambda bound: f"at least {_amount(bound.ge)}",
        annotated_types.Gt: lambda bound: f"above {_amount(bound.gt)}",
        annotated_types.Le: lambda bound: f"at most {_amount(bound.le)}",
        annotated_types.Lt: lambda bound: f"below {_amount(bound.lt)}",
    }
    parts = [words[type(bound)](bound) for bound in metadata if type(bound) in words]
    text = ", ".join(filter(None, parts))
    return f"{text[0].upper()}{text[1:]}." if text else ""


def _amount(bound: float) -> str:
    """A bound as people write it: 1,000,000 and 0.5."""
    return f"{int(bound):,}" if bound == int(bound) else f"{bound:g}"
