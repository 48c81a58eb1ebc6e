"""What runs keep on the disk for later ones, and how to delete it."""

from __future__ import annotations

from functools import partial

import streamlit as st

from kdexplorer.app.parts import deletion
from kdexplorer.runs import disk_cache


def show_predictions() -> None:
    """The size of the stored teacher predictions, with a button that deletes them; nothing where there are none."""
    if not disk_cache.measure("predictions").files:
        return
    with st.container(horizontal=True, vertical_alignment="center"):
        st.caption(
            f"{disk_cache.describe_predictions()} Runs with the same images, seed and teacher read them "
            "and are faster.",
            width="stretch",
        )
        question = "Delete the stored predictions? Runs compute them again when they need them."
        delete = partial(disk_cache.delete, "predictions")
        deletion.offer("Delete", question, "delete_predictions", delete, "Deleted.")
