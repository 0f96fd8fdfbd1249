"""Widgets of the Data page that choose the data set."""

from __future__ import annotations

from dataclasses import fields

import streamlit as st

from pages.parts.page import errors
from pages.parts.words import plain, sentence
from staff_engine.data.builtin.split import SPLITS
from staff_engine.data.builtin.tasks import TASKS, is_task
from staff_engine.data.files.compression import COMPRESSED
from staff_engine.data.files.kinds import ALL_SUFFIXES
from staff_engine.data.formats import BY_HAND
from staff_engine.data.reading import Reading
from staff_engine.data.sources import (
    find_file,
    find_source,
    is_on_hub,
    is_upload,
    keep_upload,
    shown_source,
)
from staff_engine.errors import StaffError
from staff_engine.system.sharing import check_place, is_shared

KINDS = {
    "file": "File on this machine",
    "upload": "Upload",
    "builtin": "Built in",
    "hub": "Hugging Face Hub",
}
SPLIT_WORDS = {"train": "Training (90 % of the prompts)", "held_out": "Held out (10 %)"}

DETECT = "detect"

READ_BY = tuple(field.name for field in fields(Reading))
"""The settings for reading, which have a widget each."""

KEPT = {
    "data_kind": "file",
    "data_path": "",
    "data_upload": None,
    "data_upload_failed": None,
    "data_task": next(iter(TASKS)),
    "data_side": SPLITS[0],
    "data_hub": "",
    "data_config": "",
    "data_split": "train",
    "data_format": DETECT,
    "data_prompt_column": None,
    "data_response_column": None,
    "data_way": "columns",
    "data_prompt_template": "",
    "data_conversation_column": None,
    "data_roles": "",
    "data_reasoning": "include",
    "data_bad_labels": "keep",
    "data_duplicates": "keep",
    "data_apart_from": "",
    "data_encoding": "",
    "data_delimiter": "",
    "data_limit": None,
}
"""Session keys of the Data page and their initial values; they are kept when the page changes."""


def begin() -> None:
    """Initialise the session keys, from the current draft plan if there is one."""
    if "data_kind" in st.session_state:
        return
    plan = st.session_state.get("new_plan") or {}
    dataset = plan.get("dataset") or ""
    names = {field: f"data_{field}" for field in (*READ_BY, "split", "limit")}
    if is_task(dataset):
        names["split"] = "data_side"
    begun = KEPT | {key: plan[name] for name, key in names.items() if plan.get(name)}
    if plan.get("prompt_template"):
        begun["data_way"] = "template"
    elif plan.get("conversation_column"):
        begun["data_way"] = "conversation"
    if (plan.get("response_column") and not plan.get("format")) or plan.get("conversation_column"):
        begun["data_format"] = BY_HAND
    if is_task(dataset):
        task = dataset.removeprefix("builtin:")
        begun["data_kind"] = "builtin"
        if task.partition("?")[0] in TASKS:
            begun["data_task"] = task
    elif is_upload(dataset):
        begun |= {"data_kind": "upload", "data_upload": dataset}
    elif dataset and is_on_hub(dataset):
        name, _, config = dataset.partition(":")
        begun |= {"data_kind": "hub", "data_hub": name, "data_config": config}
    else:
        begun["data_path"] = dataset
    st.session_state.update(begun)


def choose() -> str | None:
    """Show the selectors; returns the data set as named in a plan, or None until one is chosen."""
    kinds = [kind for kind in KINDS if kind != "file" or not is_shared()]
    if st.session_state.data_kind not in kinds:
        st.session_state.data_kind = kinds[0]
    kind = st.segmented_control(
        "Where is the data?",
        kinds,
        format_func=KINDS.__getitem__,
        key="data_kind",
        required=True,
        persist_state="session",
        on_change=_other_data,
    )
    return {"file": _file, "upload": _upload, "builtin": _builtin, "hub": _hub}[kind]()


def _other_data() -> None:
    """Reset the format and columns, because another data set was chosen."""
    for name in ("data_format", "data_prompt_column", "data_response_column"):
        st.session_state[name] = KEPT[name]


def _file() -> str | None:
    text = st.text_input(
        "Path of the file",
        key="data_path",
        placeholder="~/data/train.jsonl",
        help="A path on the machine that runs this app. The file is not copied. A folder, or a pattern such"
        " as ~/data/part-*.jsonl, reads several files as one data set. Addresses"
        " such as s3://bucket/train.jsonl work too.",
        persist_state="session",
        on_change=_other_data,
    )
    if not text.strip():
        _say_kinds()
        return None
    with errors():
        return find_source(text)
    raise AssertionError("errors() ends the page")


def _upload() -> str | None:
    most = st.get_option("server.maxUploadSize")
    st.file_uploader(
        f"A file of at most {most} MB",
        type=[suffix.removeprefix(".") for suffix in (*ALL_SUFFIXES, *COMPRESSED)],
        key="data_uploader",
        on_change=_take_upload,
        help="The file is stored on the machine that runs this app."
        + ("" if is_shared() else " For a larger file, choose “File on this machine” and give its path."),
    )
    if st.session_state.data_upload_failed:
        st.error(sentence(st.session_state.data_upload_failed))
    kept = st.session_state.data_upload
    if kept is None:
        _say_kinds()
        return None
    with errors():
        path = find_file(kept)
    if st.session_state.get("data_uploader") is None:
        st.caption(f"Uploaded earlier: {plain(shown_source(str(path)))}")
    return str(path)


def _take_upload() -> None:
    _other_data()
    upload = st.session_state.data_uploader
    if upload is None:
        return
    try:
        st.session_state.data_upload = str(keep_upload(upload.name, upload.getvalue()))
        st.session_state.data_upload_failed = None
    except StaffError as error:
        st.session_state.data_upload_failed = str(error)


def _builtin() -> str:
    task = st.selectbox(
        "Data set",
        # A plan can have a task with options, as the demo with faults.
        dict.fromkeys([*TASKS, st.session_state.data_task]),
        format_func=_task_words,
        key="data_task",
        help="Created on this machine from installed packages, so you can try the app offline.",
        persist_state="session",
        on_change=_other_data,
    )
    st.segmented_control(
        "Which part?",
        SPLITS,
        format_func=SPLIT_WORDS.__getitem__,
        key="data_side",
        required=True,
        help="A hash of the prompt decides. Use the held-out part to evaluate a trained model.",
        persist_state="session",
    )
    return f"builtin:{task}"


def _task_words(task: str) -> str:
    name, _, faults = task.partition("?")
    if faults:
        return f"{name.capitalize()} with faults ({faults})"
    return f"{name.capitalize()}: {TASKS[name].sentence}"


def split_of(source: str) -> str:
    """The chosen split of a data set; for files, which have no splits, the plan's default."""
    if is_task(source):
        return st.session_state.data_side
    return st.session_state.data_split if is_on_hub(source) else KEPT["data_split"]


def _hub() -> str | None:
    with st.container(horizontal=True):
        name = st.text_input(
            "Name on the hub",
            key="data_hub",
            placeholder="openai/gsm8k",
            persist_state="session",
            on_change=_other_data,
        )
        config = st.text_input(
            "Configuration",
            key="data_config",
            placeholder="default",
            help="The configuration, if the data set has several, for example main.",
            persist_state="session",
            on_change=_other_data,
        )
        st.text_input(
            "Split",
            key="data_split",
            help="Usually train, validation or test.",
            persist_state="session",
            on_change=_other_data,
        )
    name, config = name.strip(), config.strip()
    if not name:
        st.caption("A data set from huggingface.co/datasets. It is downloaded once.")
        return None
    source = f"{name}:{config}" if config else name
    with errors():
        check_place(source)
    return source


def _say_kinds() -> None:
    st.caption(
        "Supported files: JSON lines, JSON arrays, CSV, TSV, Parquet and Arrow, also compressed (.gz, .zst, "
        ".bz2, .xz). Each row needs a prompt and a response, or a conversation."
    )
