"""Methods: how each distillation method connects teacher and student, and what it asks of a student."""

import streamlit as st

from kdexplorer.app import layout, method_view, network_picker, picture
from kdexplorer.charts import divergence, taxonomy

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
        st.info("Choose a student above to see what this method asks of it.")
    else:
        method_view.show_instrument(chosen, teacher, student, image)
method_view.show_formula(chosen)
st.vega_lite_chart(taxonomy.taxonomy(method.key), width="stretch")

st.header("The code that trains", divider="grey")
method_view.show_code(method)

st.header("Forward or reverse KL", divider="grey")
left, right = st.columns([3, 2], gap="large")
with left:
    st.vega_lite_chart(divergence.mode_figure(), width="stretch")
with right:
    st.markdown(
        "A student that is too small for its teacher must choose what to give up. The forward KL divergence, "
        "KL(teacher ‖ student), is infinite where the student gives no probability to what the teacher does, so the "
        "student **covers all modes** and puts probability between them. The reverse, KL(student ‖ teacher), punishes "
        "probability where the teacher has none, so the student **seeks one mode**. Between the two lies a generalized "
        "Jensen–Shannon divergence.\n\n"
        "For ten classes a softmax can imitate any soft label, so the choice matters little. A language model has more "
        "possible answers than a small student can imitate: with forward KL it writes answers that are average and "
        "sometimes nonsense, with reverse KL it keeps to fewer answers that are good. MiniLLM (Gu et al. 2024) and GKD "
        "(Agarwal et al. 2024) argue for reverse KL or for a divergence between the two."
    )

st.header("All methods", divider="grey")
st.dataframe(method_view.methods_table(), hide_index=True, width="stretch")
