"""Export: the coreset as a download or a file on this machine, and the equivalent command."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import streamlit as st

from pages.parts import brought
from pages.parts.downloads import ARCHIVE, address
from pages.parts.navigation import page_file
from pages.parts.page import errors, header
from pages.parts.state import current_run, current_settings, results_version, scored_results, selection_of
from pages.parts.words import plain
from staff_engine.errors import StaffError
from staff_engine.export import downloads, preview
from staff_engine.export.coreset import Manifest
from staff_engine.export.formats import DEFAULT_FORMAT, EXPORT_FORMATS
from staff_engine.export.hub.folder import folder_formats
from staff_engine.export.recipes.registry import RECIPES
from staff_engine.runs.folders import Run
from staff_engine.runs.results import Results
from staff_engine.runs.saved_selections import list_saved
from staff_engine.runs.verification.drawing import to_verify
from staff_engine.selection.coreset import Selection
from staff_engine.system.sharing import is_shared

# The option for the link's settings; the other options are ids of saved selections.
CURRENT = "current"

TARGETS = {"file": "File", "folder": "Folder for load_dataset and the hub"}

# Session keys: the last prepared and the last written export, each with its settings.
PREPARED, WRITTEN = "_export_prepared", "_export_written"


def choose_settings(run: Run) -> dict[str, Any]:
    """The settings of the coreset: the link's, or those of a saved selection."""
    saved = {each.id: each for each in list_saved(run.folder)}
    asked = st.session_state.export_selection
    if asked not in (CURRENT, *saved):
        st.warning(f"This run has no selection {plain(repr(asked))}. The current selection is used.")
        st.session_state.export_selection = CURRENT
    if not saved:
        return current_settings()
    names = {CURRENT: "Settings of the Select page"} | {id: each.name for id, each in saved.items()}
    chosen = st.selectbox(
        "Selection",
        list(names),
        format_func=lambda id: names.get(id, id),
        key="export_selection",
        persist_state="session",
    )
    return dict(saved[chosen].settings) if chosen in saved else current_settings()


def say_what_is_exported(results: Results, selection: Selection, settings: dict[str, Any]) -> None:
    missing = len(to_verify(results, verify_per_stratum=st.session_state.verify_per_stratum, **settings))
    if missing:
        st.warning(
            f"This coreset is provisional: {missing:,} samples are not verified yet for these settings.",
            icon=":material/hourglass_empty:",
        )
        st.page_link(page_file("select"), label="Verify them on Select", icon=":material/tune:")
    for warning in selection.warnings:
        st.caption(f":material/info: {plain(warning)}")
    if not st.session_state.filter.empty:
        st.info(
            "A filter is set. It affects what the pages show. The export always contains the whole coreset.",
            icon=":material/filter_alt:",
        )


def choose_format() -> tuple[str, bool]:
    """Selectors for the format, and for adding scores to the rows."""
    if st.session_state.export_format not in EXPORT_FORMATS:
        shown = EXPORT_FORMATS[DEFAULT_FORMAT].label
        asked = plain(repr(st.session_state.export_format))
        st.warning(f"Unknown format {asked}. The default, {shown}, is used.")
        st.session_state.export_format = DEFAULT_FORMAT
    name = st.selectbox(
        "Format",
        list(EXPORT_FORMATS),
        key="export_format",
        format_func=lambda name: EXPORT_FORMATS[name].label,
        persist_state="session",
    )
    format = EXPORT_FORMATS[name]
    st.caption(f"{format.sentence} {format.cannot_carry}")
    st.toggle(
        "Add scores",
        key="export_scores",
        disabled=not format.holds_scores,
        help="Adds a field _staff to every row, with its row number, both models' scores and its stratum."
        " Otherwise the rows are identical to the imported ones. The decisions file always has the scores.",
        persist_state="session",
    )
    return name, st.session_state.export_scores and format.holds_scores


@st.cache_data(max_entries=16, show_spinner=False)
def preview_of(choices: tuple[Any, ...], _results: Results, _selection: Selection) -> str:
    format, with_scores = choices[-2:]
    return preview.preview_export(_results, _selection, format, with_scores)


def show_preview(choices: tuple[Any, ...], results: Results, selection: Selection) -> bool:
    """Show the first rows; returns False if the format cannot store them."""
    try:
        text = preview_of(choices, results, selection)
    except StaffError as error:
        st.error(f"This coreset cannot be written in this format: {plain(str(error))}.")
        return False
    shown = min(5, len(selection.indices))
    st.caption(f"The first {shown} of {len(selection.indices):,} rows of the file")
    st.code(text, language=EXPORT_FORMATS[choices[-2]].preview_language, wrap_lines=True, height=320)
    return True


def offer_download(
    run: Run, choices: tuple[Any, ...], settings: dict[str, Any], rows: int, fits: bool
) -> Manifest | None:
    """Prepare the files on request, then show download links; returns the manifest of prepared files."""
    format, with_scores = choices[-2:]
    made_from, prepared = st.session_state.get(PREPARED, (None, None))
    if made_from != choices or not prepared.whole:
        st.caption("Prepares the coreset file, a file with the decision for every row, and a manifest.")
        if not st.button("Prepare download", type="primary", icon=":material/package_2:", disabled=not fits):
            return None
        with (
            errors(),
            st.spinner(f"Writing {rows:,} rows, and the decision for every row …", show_time=True),
        ):
            prepared = downloads.prepare(run, settings, format, with_scores)
        st.session_state[PREPARED] = (choices, prepared)
        st.rerun()
    with errors():
        manifest = prepared.manifest()
    with st.container(horizontal=True):
        file = prepared.files["coreset"]
        st.link_button(
            f"Download {file.name} ({downloads.size_words(file)})",
            address(prepared),
            type="primary",
            icon=":material/download:",
        )
        st.link_button("All files as zip", address(prepared, ARCHIVE), icon=":material/folder_zip:")
        for part in ("decisions", "manifest", "entry"):
            if part in prepared.files:
                name = prepared.files[part].name
                st.link_button(name, address(prepared, part), type="tertiary")
    return manifest


def choose_target(format: str) -> bool:
    """A selector for a file or a folder; returns whether it is a folder."""
    if format not in folder_formats():
        return False
    kind = st.segmented_control(
        "What to write",
        list(TARGETS),
        format_func=TARGETS.__getitem__,
        key="export_target",
        default="file",
        required=True,
        help="The folder has the rows, a dataset card, the decisions and the manifest. load_dataset reads it,"
        " and export --push uploads it to the Hugging Face Hub.",
    )
    return kind == "folder"


def choose_recipe(format: str) -> str | None:
    """A selector for a tool whose training file is written too; None without one."""
    tools = [recipe.name for recipe in RECIPES.values() if recipe.format == format]
    if not tools:
        formats = dict.fromkeys(EXPORT_FORMATS[recipe.format].label for recipe in RECIPES.values())
        st.caption(
            f"With the formats {' and '.join(formats)}, a file for training with"
            f" {', '.join(recipe.label for recipe in RECIPES.values())} can be written too."
        )
        return None
    return st.selectbox(
        "File for training with",
        tools,
        index=None,
        placeholder="No tool",
        format_func=lambda name: RECIPES[name].label,
        key=f"export_recipe_{format}",
        help="Trains the run's target on the coreset, with the run's settings.",
    )


def offer_write(
    run: Run,
    choices: tuple[Any, ...],
    settings: dict[str, Any],
    fits: bool,
    as_folder: bool,
    recipe: str | None,
) -> Path:
    """A form that writes the files to a path on this machine; returns the path."""
    format, with_scores = choices[-2:]
    with st.form("export_write", border=False):
        if as_folder:
            suggested, label = Path.home() / "coreset", "Folder on this machine"
            about = "Created if it does not exist. Files of an earlier export in it are replaced."
        else:
            suggested, label = downloads.suggest_file(format), "File on this machine"
            about = "The decisions and the manifest are written to the same folder."
        key = f"export_out_{'folder' if as_folder else format}"
        out = Path(st.text_input(label, str(suggested), key=key, help=about))
        replace = st.checkbox(
            f"Replace {'other files' if as_folder else 'an existing file'}", key="export_replace"
        )
        asked = st.form_submit_button("Write the files", icon=":material/save:", disabled=not fits)
    if asked:
        write = downloads.write_folder if as_folder else downloads.write_out
        with errors(), st.spinner("Writing …", show_time=True):
            manifest = write(
                run,
                settings,
                out,
                format=format,
                with_scores=with_scores,
                replace=replace,
                recipe=recipe,
            )
        st.session_state[WRITTEN] = ((*choices, recipe), out, manifest)
    made_from, where, manifest = st.session_state.get(WRITTEN, (None, None, None))
    if made_from == (*choices, recipe):
        names = ", ".join(file["name"] for file in manifest["files"])
        rows = f"{manifest['counts']['selected']:,} rows"
        st.success(f"Wrote {rows} to {plain(str(where))} (with {plain(names)} and the manifest).")
    return out


def show_manifest(manifest: Manifest) -> None:
    for warning in manifest["warnings"]:
        st.warning(plain(warning))
    with st.expander("Manifest: data, models and settings", icon=":material/receipt_long:"):
        st.json(manifest, expanded=1)


header("Export", "Export the coreset as a file, in the format of your training tool.")
results = scored_results()
brought.say(results.plan)
run = current_run()
settings = choose_settings(run)
selection = selection_of(results, settings)
choices_of_link = (str(run.folder), results_version(run), tuple(settings.items()))
say_what_is_exported(results, selection, settings)
left, right = st.columns([1, 2], gap="medium")
with left:
    st.metric("Rows in the coreset", f"{len(selection.indices):,} of {results.num_rows:,}")
    choices = (*choices_of_link, *choose_format())
with right:
    fits = show_preview(choices, results, selection)
st.subheader("Download", anchor=False)
manifest = offer_download(run, choices, settings, len(selection.indices), fits)
if manifest:
    show_manifest(manifest)
format = EXPORT_FORMATS[choices[-2]]
if format.companion:
    with st.expander(f"Entry for {format.label}'s {format.companion.name}", icon=":material/data_object:"):
        st.caption(
            "This entry is included in the download. Training refers to the coreset by the entry's name."
        )
        entry = downloads.entry_of(format.companion, downloads.file_name(format.name), results, selection)
        st.code(entry, language="json")
if not is_shared():
    st.subheader("On this machine", anchor=False)
    as_folder = choose_target(choices[-2])
    recipe = choose_recipe(choices[-2])
    out = offer_write(run, choices, settings, fits, as_folder, recipe)
    st.caption("The same as a command:")
    st.code(
        downloads.export_command(
            run.id,
            downloads.changed_settings(results.plan, settings),
            *choices[-2:],
            out,
            as_folder=as_folder,
            recipe=recipe,
        ),
        language="bash",
        wrap_lines=True,
    )
