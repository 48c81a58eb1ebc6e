"""The students of an experiment on Launch: an editable table, and a way to add one that needs no pointer.

The form's values are kept as a dict (`held`); its `students` are the table's rows.
"""

from __future__ import annotations

from typing import Any

import streamlit as st

from kdexplorer import draft
from kdexplorer.config import ARCHITECTURES, PRESETS


def show(held: dict[str, Any]) -> None:
    """Draws the table; what is changed in it changes `held`."""
    st.markdown("**Students**: they see the same batches from the same initial weights")
    version = st.session_state["students_version"]
    if st.session_state.get("students_shown") != version:  # the editor's edits count from these rows
        st.session_state["students_base"], st.session_state["students_shown"] = held["students"], version
    column = st.column_config
    key = f"students_{version}"
    st.data_editor(
        st.session_state["students_base"],
        key=key,
        on_change=_changed,
        args=(held, key),
        num_rows="dynamic",
        hide_index=True,
        column_order=("name", "architecture", "preset", *draft.TERMS[:-1]),
        column_config={
            "name": column.TextColumn("Name", width=150),
            "architecture": column.SelectboxColumn("Network", options=ARCHITECTURES, default="resnet8", width=100),
            "preset": column.SelectboxColumn(
                "Preset", options=[*PRESETS, "custom"], width=90, help="Choosing one fills the weights of its row"
            ),
            "ce_weight": column.NumberColumn(
                "CE ×", format="%g", width=65, help="Weight of cross-entropy: 1 − α in the lab"
            ),
            "response_weight": column.NumberColumn(
                "KL ×", format="%g", width=65, help="Weight of T²·KL, the teacher's term: α"
            ),
            "temperature": column.NumberColumn(
                "T", format="%g", width=50, help="Softens teacher and student in the KL term"
            ),
            "attention_weight": column.NumberColumn(
                "AT ×", format="%g", width=70, help="Weight of attention transfer: β, 1000 in the lab"
            ),
            "attention_power": column.SelectboxColumn(
                "Power", options=[1, 2], width=75, help="1: the channel mean of the lab; 2: the mean of squares"
            ),
        },
        alt="The students of this experiment: name, network, preset and the weights of each loss term",
    )
    with st.container(horizontal=True, vertical_alignment="bottom"):
        st.selectbox("Network to add", ARCHITECTURES, key="new_architecture", width=200)
        st.selectbox("Preset", list(PRESETS), key="new_preset", width=170)
        st.button("Add student", on_click=_add, args=(held,), icon=":material/add:")
        st.button(
            "Remove the last",
            on_click=_remove,
            args=(held,),
            disabled=len(held["students"]) < 2,
            icon=":material/remove:",
        )


def _changed(held: dict[str, Any], key: str) -> None:
    """The editor's callback: a chosen preset fills the row's weights."""
    rows, rewritten = draft.edited(st.session_state["students_base"], st.session_state[key])
    held["students"] = rows
    if rewritten:
        st.session_state["students_version"] += 1


def _add(held: dict[str, Any]) -> None:
    """One more row, from the two choices under the table."""
    chosen = {"architecture": st.session_state["new_architecture"], "preset": st.session_state["new_preset"]}
    held["students"] = [*held["students"], draft.student(chosen, {row["name"] for row in held["students"]})]
    st.session_state["students_version"] += 1


def _remove(held: dict[str, Any]) -> None:
    """The table's last row goes."""
    held["students"] = held["students"][:-1]
    st.session_state["students_version"] += 1
