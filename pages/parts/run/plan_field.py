"""A widget for each setting of a plan, built from its type, bounds and description."""

from __future__ import annotations

import math
import types
from typing import Any, Literal, Union, get_args, get_origin

import annotated_types
import streamlit as st

from staff_engine.evaluation_plan import EvaluationPlan
from staff_engine.plan import Plan
from staff_engine.similarity_plan import SimilarityPlan

TAKEN_UP = "_plan_taken_up"
"""Session key: the plan from which the widgets were last set."""

DEFAULT_MODELS = {"small": "builtin:llama-nano", "target": "builtin:llama-mini"}

LABELS = {
    "pruning_rate": "Pruning rate",
    "strata": "Strata (K)",
    "verify_per_stratum": "Verified per stratum (b_v)",
    "epochs": "Epochs",
    "strata_by": "Stratify by",
    "drop_hardest": "Hardest dropped",
    "within": "Within a stratum",
    "max_length": "Maximum tokens per sample",
    "batch_size": "Batch size (samples)",
    "learning_rate": "Learning rate",
    "lora_rank": "LoRA rank",
    "lora_alpha": "LoRA alpha",
    "lora_targets": "Layers with LoRA",
    "chat_template": "Chat template (file)",
    "quantize": "Quantize the target",
    "device_map": "Spread the target over GPUs",
    "processes": "Processes (GPUs)",
    "shard_target": "Shard the target (FSDP)",
    "attn_implementation": "Attention implementation",
    "tune_target": "Tune the target on (samples)",
    "scored_parameters": "Scored parameters",
    "tokens_per_batch": "Scoring batch (tokens)",
    "adaptive": "Verify in rounds",
    "ifd": "Also score IFD",
    "dtype": "Number format",
}

NOT_DATA = [name for name in Plan.model_fields if name not in (
    "dataset", "format", "prompt_column", "response_column", "split", "limit"
)]  # fmt: skip


def take_up(plan: dict[str, Any]) -> dict[str, Any]:
    """Set the widgets from a plan if it has changed; returns the plan."""
    if st.session_state.get(TAKEN_UP) != plan:
        for name in NOT_DATA:
            default = DEFAULT_MODELS.get(name, Plan.model_fields[name].default)
            st.session_state[f"plan_{name}"] = plan.get(name, default)
        st.session_state[TAKEN_UP] = dict(plan)
    return plan


def put_down(plan: dict[str, Any]) -> dict[str, Any]:
    """Record that the widgets show this plan; returns a copy of it."""
    st.session_state[TAKEN_UP] = dict(plan)
    return dict(plan)


def values() -> dict[str, Any]:
    """The values of the widgets; an emptied field of an optional text is None."""
    values = {name: st.session_state[f"plan_{name}"] for name in NOT_DATA}
    optional = {name for name in NOT_DATA if Plan.model_fields[name].default is None}
    return {name: None if value == "" and name in optional else value for name, value in values.items()}


def field(name: str, *, label: str = "") -> None:
    """The widget of a setting."""
    info = Plan.model_fields[name]
    kind = _kind(info.annotation)
    common: dict[str, Any] = {
        "label": label or LABELS.get(name, name.replace("_", " ").capitalize()),
        "key": f"plan_{name}",
        "help": info.description,
        "persist_state": "session",
    }
    if get_origin(kind) is Literal:
        st.selectbox(options=get_args(kind), **common)
    elif kind in (int, float):
        how = {"step": 1} if kind is int else {"step": 0.01, "format": "%.6g"}
        left_empty = {"placeholder": "automatic"} if info.default is None else {}
        st.number_input(**bounds(name), **how, **left_empty, **common)
    elif kind is str:
        st.text_input(**common)
    elif kind is bool:
        st.toggle(**common)
    else:
        raise TypeError(f"setting {name} is of type {kind}; allowed: Literal, int, float, str, bool")


def _kind(annotation: Any) -> Any:
    """The type without None."""
    if get_origin(annotation) in (Union, types.UnionType):
        return next(kind for kind in get_args(annotation) if kind is not types.NoneType)
    return annotation


def bounds(name: str, plan: type[Plan | SimilarityPlan | EvaluationPlan] = Plan) -> dict[str, int | float]:
    """The bounds of a setting, as arguments of `st.number_input`."""
    info = plan.model_fields[name]
    kind = _kind(info.annotation)
    limits: dict[str, int | float] = {}
    for each in info.metadata:
        if isinstance(each, annotated_types.Ge):
            limits["min_value"] = kind(each.ge)
        if isinstance(each, annotated_types.Le):
            limits["max_value"] = kind(each.le)
        if isinstance(each, annotated_types.Gt):
            limits["min_value"] = kind(each.gt)
        if isinstance(each, annotated_types.Lt) and each.lt < 2**53:
            limits["max_value"] = each.lt - 1 if kind is int else math.nextafter(each.lt, -math.inf)
    return limits
