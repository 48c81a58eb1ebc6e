"""Compare's section on the lab report's claims."""

from __future__ import annotations

import streamlit as st

from kdexplorer.analysis import claims, lab
from kdexplorer.app.compare.table import Comparison
from kdexplorer.app.parts.plain import as_text
from kdexplorer.app.state import result_caches
from kdexplorer.runs.checkpoints import bundled_checkpoints
from kdexplorer.sweeps.results import bundled_sweeps

VERDICTS = {
    "supported": ":material/check_circle:",
    "not supported": ":material/cancel:",
    "cannot be decided": ":material/help:",
}
"""Each verdict's icon."""


def show_claims(_: Comparison) -> None:
    """The lab report's claims with evidence from the bundled networks and sweep, whatever is chosen above."""
    networks = {as_text(checkpoint.name): checkpoint for checkpoint in bundled_checkpoints()}
    if not networks:
        st.info("There are no bundled networks, which these claims are compared with.")
        return
    labels = result_caches.evaluation_labels(next(iter(networks.values())))
    rows = result_caches.result_rows(networks, labels)
    sweep = next(iter(bundled_sweeps().values()), None)
    judged = claims.judge_all(
        rows,
        sweep.accuracies_by("temperature") if sweep else {},
        sweep.accuracies_by("weight") if sweep else {},
    )
    for one in judged:
        st.markdown(f"{VERDICTS[one.verdict]} **{one.claim}**: {one.verdict}. {one.evidence}")
    st.markdown(lab.to_markdown(lab.compare_with_lab(rows)))
    st.caption(
        "Computed from the bundled networks and the bundled sweep. Tests of networks are over images, each network was "
        "trained from one seed; tests of settings are over seeds."
    )
