"""Methods: how each distillation method connects teacher and student, and what it asks of a student."""

import streamlit as st

from kdexplorer.app.methods import method_view
from kdexplorer.app.parts import chart_view, layout, network_picker, picture
from kdexplorer.charts import divergence, taxonomy
from kdexplorer.methods import describe_methods

layout.header(
    "methods",
    "**What** the student imitates: the teacher's predictions (response), what happens inside it (feature), or how it "
    "relates images to each other (relation).",
)
teacher, students = network_picker.pick_networks(count=2)
names = network_picker.short_names([teacher, *students])
left, right = layout.first_screen()
with left:
    image = picture.pick(teacher, students)
with right:
    first, second = st.columns(2, gap="xsmall")
    with first:
        method = method_view.pick_method()
    with second:
        student = method_view.pick_student(dict(zip(names[1:], students, strict=True)), teacher)
    with st.popover("Settings", icon=":material/tune:", width="content"):
        chosen = method_view.pick_settings(method)
    if student is None:
        st.info("Choose a student above to see this method's gradient on it.")
    else:
        method_view.show_instrument(chosen, teacher, student, image)
method_view.show_formula(chosen)
chart_view.draw(taxonomy.taxonomy(method.key), "Taxonomy of methods", ())

st.header("The code that trains", divider="grey")
method_view.show_code(method)

st.header("Forward or reverse KL", divider="grey")
left, right = st.columns([3, 2], gap="large")
with left:
    chart_view.draw(divergence.mode_figure(), "Forward and reverse KL", ())
with right:
    st.markdown("\n\n".join(divergence.EXPLANATION))

st.header("All methods", divider="grey")
st.dataframe(describe_methods(), hide_index=True, width="stretch")
