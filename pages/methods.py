"""Methods: how each distillation method connects teacher and student, and what it asks of a student."""

import streamlit as st

from kdexplorer.app import method_view, network_picker, picture
from kdexplorer.charts import divergence, taxonomy
from kdexplorer.methods import describe_methods

st.title("Methods")
st.markdown(
    "A method says **what** the student imitates: the teacher's predictions (response), what happens inside it "
    "(feature), or how it relates images to each other (relation)."
)

teacher, students = network_picker.pick_networks(count=2)
names = network_picker.short_names([teacher, *students])
left, right = st.columns([2, 3], gap="large")
with left:
    method = method_view.pick_method()
    st.vega_lite_chart(taxonomy.taxonomy(method.key), width="stretch")
    student = method_view.pick_student(dict(zip(names[1:], students, strict=True)), teacher)
    above = st.container()
    image = picture.pick(teacher, students)
with above:
    picture.show(image, teacher)
with right:
    settings = st.container()
    formula = st.container()
    with settings:
        chosen = method_view.pick_settings(method)
    with formula:
        method_view.show_formula(chosen)
    if student is None:
        st.info("Choose a student above to see what this method asks of it.")
    else:
        method_view.show_instrument(chosen, teacher, student, image)

st.header("The code that trains", divider="grey")
method_view.show_code(method)

st.header("Forward or reverse KL", divider="grey")
left, right = st.columns([3, 2], gap="large")
with left:
    st.vega_lite_chart(divergence.mode_figure(), width="stretch")
with right:
    st.markdown("\n\n".join(divergence.EXPLANATION))

st.header("All methods", divider="grey")
st.dataframe(describe_methods(), hide_index=True, width="stretch")
