"""What runs keep on the disk for later ones, and how to delete it."""

from __future__ import annotations

import streamlit as st

from kdexplorer.app.parts import layout
from kdexplorer.runs import array_store


def show_predictions() -> None:
    """The size of the stored teacher predictions, with a button that deletes them; nothing where there are none."""
    found = array_store.measure_store()
    if not found.files:
        return
    with st.container(horizontal=True, vertical_alignment="center"):
        st.caption(
            f"{array_store.describe_store(found)} Runs with the same images, seed and teacher read them and are "
            "faster.",
            width="stretch",
        )
        question = "Delete the stored predictions? Runs compute them again when they need them."
        layout.offer_deletion("Delete", question, "delete_predictions", array_store.delete_store, "Deleted.")
