"""What distillation is, on the bundled networks, with no click needed."""

import numpy as np
import pandas as pd
import streamlit as st

from kdexplorer import gallery, images, relatives, table
from kdexplorer.errors import KDError
from kdexplorer.inference import entropy, soften
from kdexplorer.ui import cached, charts, choice

SOFT = 4.0

choice.through_the_door()
st.title("See knowledge distillation at work")
st.markdown(
    "A large network, the **teacher**, has learnt to tell ten kinds of pictures apart. A small one, the **student**, "
    "can learn it from labels alone. Or it can learn from the teacher's answers too, and these say more "
    "than a label does."
)

found = cached.all_checkpoints()
teacher = found[choice.default_teacher(found)] if found else None
students = {method: found[name] for method, name in relatives.family(found, teacher).items()} if teacher else {}


def telling_image():
    """The sample that teaches most: distillation put it right if there is one, else the teacher hesitates most."""
    pixels, labels, indices = images.sample_images()
    if not len(labels):
        pixels, labels, indices = (part[:20] for part in cached.gallery())
    alone, distilled = students.get("scratch"), students.get("response")
    answers = cached.gallery_answers(teacher, [c for c in (alone, distilled) if c], "cifar10", indices, labels)
    if answers is None:
        return None
    right = answers.right("teacher")
    kinds = gallery.available(answers)
    fixed = gallery.positions("Distillation fixed it", answers) if "Distillation fixed it" in kinds else []
    good = [rank for rank in fixed if right[rank]] or list(np.flatnonzero(right)) or [0]
    rank = max(good, key=lambda rank: entropy(soften(answers.teacher[rank], SOFT)))
    return pixels[rank], int(labels[rank]), int(indices[rank])


def show_example(pixels, label, index):
    """The image, the teacher's answer twice, and two students' answers."""
    classes = teacher.classes
    networks = {"teacher": teacher} | {m: students[m] for m in ("scratch", "response") if m in students}
    logits = {role: cached.image_logits(c, pixels, index, "cifar10") for role, c in networks.items()}
    hard, soft = soften(logits["teacher"]), soften(logits["teacher"], SOFT)
    left, first, second = st.columns([1, 2, 2], gap="medium")
    with left:
        st.image(
            images.enlarged_png(pixels.transpose(1, 2, 0), 224), width=224, alt=f"Test image {index}: {classes[label]}"
        )
        st.caption(f"Test image {index}. The label says **{classes[label]}**, and nothing else.")
    first.vega_lite_chart(
        charts.answer(hard, classes, label, "teacher", "The teacher's answer", f"{teacher.name}, T = 1")
    )
    second.vega_lite_chart(
        charts.answer(soft, classes, label, "teacher", "The same answer, softened", f"{teacher.name}, T = {SOFT:g}")
    )
    runners_up = [k for k in np.argsort(-soft) if k != label][:2]
    st.markdown(
        f"Divide the logits by a temperature of {SOFT:g} and the small answers come into sight: "
        f"{' and '.join(f'**{classes[k]} {soft[k]:.0%}**' for k in runners_up)}. "
        f"That is what the teacher holds to be alike, and no label says it. A student trained on it learns from "
        f"{np.exp(entropy(soft)):.1f} effective classes instead of one."
    )
    heads = {"scratch": "A student alone", "response": "The same student, distilled"}
    columns = st.columns([1, 2, 2], gap="medium")[1:]
    for column, (role, heading) in zip(columns, heads.items(), strict=True):
        if role in logits:
            chart = charts.answer(soften(logits[role]), classes, label, role, heading, f"{networks[role].name}, T = 1")
            column.vega_lite_chart(chart)


if teacher is None:
    st.info("There is no network to show yet. Train one on the page Launch, or restore the folder checkpoints.")
else:
    try:
        example = telling_image()
        if example is None:
            st.info(f"{teacher.name} has no stored answers to the test images: choose another network on Soft labels.")
        else:
            show_example(*example)
    except KDError as error:
        st.error(str(error))

st.header("Two ways to teach", divider="grey")
left, right = st.columns(2, gap="large")
with left:
    st.subheader("Response-based")
    st.latex(
        r"\begin{aligned}L ={}& \alpha\,T^2\,\mathrm{KL}\bigl(p^t(T)\,\|\,p^s(T)\bigr) \\ "
        r"&{}+ (1-\alpha)\,\mathrm{CE}(p^s, y)\end{aligned}"
    )
    st.markdown(
        "The student imitates the teacher's softened answer. The temperature T decides how much of the small answers "
        "is heard; T² keeps the push as strong at every T. The weight α divides the student's ear between the "
        "teacher and the label."
    )
    st.page_link("pages/soft_labels.py", label="See it on Soft labels →")
with right:
    st.subheader("Feature-based")
    st.latex(
        r"\begin{aligned}L ={}& \mathrm{CE}(p^s, y) \\ "
        r"&{}+ \beta \sum_{k}\mathrm{MSE}\bigl(\hat{A}^s_k,\, \hat{A}^t_k\bigr)"
        r"\end{aligned}"
    )
    st.markdown(
        "The student imitates where the teacher looks. Each stage's channels are averaged to a map A, scaled to "
        "length 1. The weight β is large (1000) because the differences are tiny: see each stage's share."
    )
    st.page_link("pages/attention.py", label="See it on Attention →")

if students:
    st.header("What came of it", divider="grey")
    family = {"teacher": teacher} | students
    rows = [table.rows([c])[0] | {"role": role} for role, c in family.items()]
    chart, words = st.columns([2, 3], gap="large")
    chart.vega_lite_chart(charts.accuracies(rows))
    with words:
        st.dataframe(
            pd.DataFrame(
                {
                    "network": [row["name"] for row in rows],
                    "learnt": [charts.ROLE_NAMES[row["role"]] for row in rows],
                    "accuracy": [f"{100 * row['accuracy']:.2f} %" for row in rows],
                    "cross-entropy": [f"{row['cross_entropy']:.3f}" for row in rows],
                    "objective": ["" if row["objective"] is None else f"{row['objective']:.3f}" for row in rows],
                    "parameters": [f"{row['parameters']:,}" for row in rows],
                }
            ),
            hide_index=True,
        )
        st.markdown(
            "**Cross-entropy** can be compared between rows. The **objective** cannot: it is what each row minimised, "
            "and each method adds other terms. So a distilled student's objective may be larger although it is better."
        )
    one = next(iter(students.values())).card
    st.caption(
        f"Where the numbers come from: {rows[0]['measured_on']} of CIFAR-10, the last epoch's weights. The students "
        f"are one run of {one.get('epochs', '?')} epochs with seed {one.get('seed', '?')}, and nothing was chosen "
        "on the test split. One run cannot rank methods: see Compare for paired tests."
    )
