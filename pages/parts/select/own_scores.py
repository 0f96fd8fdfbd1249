"""Add scores from a file to a run."""

from __future__ import annotations

import tempfile
from pathlib import Path

import streamlit as st

from pages.parts.page import errors
from staff_engine.runs.results import Results
from staff_engine.scoring.own_scores import add_own_scores
from staff_engine.scoring.score_files import ROW_ID, SUFFIXES, read_score_file


def offer(results: Results) -> None:
    """A form for a file of scores, and what it added."""
    with (
        st.popover("Add scores from a file", icon=":material/upload_file:", key="own_scores"),
        st.form("own_scores_form", border=False),
    ):
        file = st.file_uploader(
            "File of scores",
            type=[suffix.removeprefix(".") for suffix in SUFFIXES],
            key="own_scores_file",
            help="Parquet, CSV or TSV: a key for each row, and one or more columns of numbers.",
        )
        key = st.text_input(
            "Key",
            ROW_ID,
            key="own_scores_key",
            help="The column that names the row: row_id, its index in the imported data from 0, or a field"
            " that the rows of the data have too.",
        )
        reverse = st.toggle(
            "Higher values mean easier samples",
            key="own_scores_reverse",
            help="For example a quality. The score is then the highest value minus the value.",
        )
        overwrite = st.toggle("Replace scores of the same name", key="own_scores_overwrite")
        if st.form_submit_button("Add") and file is not None:
            with errors():
                sentences = _add(results, file.name, file.getvalue(), key, reverse, overwrite)
            for sentence in sentences:
                st.toast(sentence, icon=":material/check:")
            st.rerun()


def _add(results: Results, name: str, content: bytes, key: str, reverse: bool, overwrite: bool) -> list[str]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / Path(name).name
        path.write_bytes(content)
        found = read_score_file(path, results.imported.folder, results.num_rows, key=key)
    added = add_own_scores(results.folder, found, results.num_rows, reverse=reverse, overwrite=overwrite)
    unknown = [f"{found.unknown:,} rows of the file are not in the data."] if found.unknown else []
    return [*(each.sentence for each in added), *unknown]
