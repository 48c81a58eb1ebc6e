"""Live: teacher and students run in the visitor's own browser, on a picture or on the camera."""

import streamlit as st

from kdexplorer.app import navigation
from kdexplorer.app.live import live_view
from kdexplorer.app.parts import layout, network_picker, picture
from kdexplorer.app.parts.plain import as_text, show_error
from kdexplorer.app.state import choices
from kdexplorer.errors import KDError
from kdexplorer.networks import all_architectures
from kdexplorer.web import assemble, export

layout.header(
    "live",
    "Teacher and students classify what you hold up to the camera, **in this page**. No picture leaves your device "
    "unless you press **Use this picture**.",
)
teacher, students = network_picker.pick_networks(count=2)
if not export.runs_in_browser(teacher):
    small = [architecture.key for architecture in all_architectures() if architecture.runs_in_browser]
    st.info(
        f"{as_text(teacher.name)} is a {teacher.architecture}, which is too large for a browser. Choose a teacher "
        f"among {', '.join(small)}."
    )
    st.stop()
_, *selected = assemble.select_networks({str(one.path): one for one in [teacher, *students]}).values()
left_out = [student.name for student in students if student not in selected]
if left_out:
    st.caption(
        f"Not shown: {as_text(', '.join(left_out))}. The view runs up to {assemble.MAX_STUDENTS} students, "
        "small ResNets only."
    )

message = st.container()
try:
    chosen = live_view.show(teacher, selected, choices.pinned("T"))
    if chosen is not None:
        picture.use_photo(chosen)
        with message.container(horizontal=True, vertical_alignment="center"):
            st.success("The other pages now show this picture.", width=420)
            navigation.link_to("soft_labels", "Its soft labels")
            navigation.link_to("attention", "Its attention maps")
except KDError as error:
    show_error(error)
