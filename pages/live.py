"""Live: teacher and students run in the visitor's own browser, on a picture or on the camera."""

import streamlit as st

from kdexplorer.errors import KDError
from kdexplorer.ui import choice, live, picture
from kdexplorer.web import assemble, export

choice.through_the_door()
st.title("Live")
st.markdown(
    "Hold something up to the camera, or drop a picture: teacher and students answer **in this page**. Nothing is "
    "sent anywhere. They know ten classes, see 32 × 32 pixels, and must answer with one of the ten whatever is shown."
)

teacher, students = choice.pick_networks()
if not export.runs_in_browser(teacher):
    st.info(
        f"{teacher.name} is a {teacher.architecture}: too large to run in a page. "
        f"Choose a teacher that is one of {', '.join(export.ARCHITECTURES)}."
    )
    st.stop()
_, *able = assemble.able({str(checkpoint.path): checkpoint for checkpoint in [teacher, *students]}).values()
left_out = [checkpoint.name for checkpoint in students if checkpoint not in able]
if left_out:
    st.caption(
        f"Not here: {', '.join(left_out)}. The page runs up to {assemble.MOST_STUDENTS} students, small ResNets only."
    )

told = st.container()
try:
    handed = live.live_view(teacher, able, choice.temperature())
    if handed is not None:
        picture.use_photo(handed)
        with told.container(horizontal=True, vertical_alignment="center"):
            st.success("The other pages show this picture now.", width=420)
            st.page_link("pages/soft_labels.py", label="Soft labels of it")
            st.page_link("pages/attention.py", label="Attention on it")
except KDError as error:
    st.error(str(error))
