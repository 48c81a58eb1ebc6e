"""Any set of networks and runs side by side: the table, the two puzzles of the lab, and what stands behind them."""

from __future__ import annotations

from typing import Any

import numpy as np
import streamlit as st

from kdexplorer import comparison, data, export, images, metrics, runs
from kdexplorer.checkpoints import Checkpoint
from kdexplorer.errors import KDError
from kdexplorer.ui import cached, charts, charts_compare, charts_runs, choice, handouts, style, sweeps

MOST = 16
SHOWN = 12
SECTIONS = ("Accuracy and cost", "Learning curves", "Calibration", "Classes", "Confusion", "Disagreements", "Sweep")
PER_CENT = {"accuracy", "calibration_error", "teacher_agreement"}


# --- What is compared -----------------------------------------------------------------------------------------


def pick(found: dict[str, Checkpoint]) -> tuple[dict[str, Checkpoint], list[str]]:
    """The chosen networks by key (finished students of chosen runs among them), and the chosen runs."""
    usual = [name for name in found if "/" not in name][:MOST] or list(found)[:MOST]
    usual = comparison.groups({name: found[name] for name in usual})
    left, right = st.columns([3, 2])
    with left:
        chosen = choice.pick_several(
            "networks",
            "Networks",
            list(found),
            next(iter(usual.values())),
            "compare_networks",
            MOST,
            placeholder="Choose networks to compare",
        )
    with right:
        opened = choice.pick_several(
            "runs",
            "Runs",
            [run.run_id for run in runs.list_runs()],
            [],
            "compare_runs",
            MOST,
            what="run",
            placeholder="Add all students of a run",
            help="Its finished students join the table, its curves the learning curves",
        )
    for run_id in opened:
        chosen += [name for name in found if name.startswith(f"{run_id}/") and name not in chosen]
    return {name: found[name] for name in chosen}, opened


def refuse_a_mixture(entries: dict[str, Checkpoint]) -> None:
    """Ends the page where the chosen networks were measured on different images."""
    groups = comparison.groups(entries)
    if len(groups) < 2:
        return
    parts = "\n".join(f"- {where}: {', '.join(names)}" for where, names in groups.items())
    st.error(
        "These networks were measured on different images. Their numbers cannot stand in one table, and averaging "
        f"them would mean nothing:\n\n{parts}\n\nKeep the networks of one line only."
    )
    with st.container(horizontal=True):
        for where, names in groups.items():
            st.button(f"Keep those on {where}", on_click=keep, args=(names,), key=f"keep_{where}")
    st.stop()


def keep(names: list[str]) -> None:
    """One group of a mixture."""
    choice.put("networks", names, ",".join(names))
    choice.put("runs", [], "")


def pick_references(
    entries: dict[str, Checkpoint], found: dict[str, Checkpoint], names: dict[str, str]
) -> tuple[str | None, str | None]:
    """The teacher that agreement and KL are about, and the baseline of the differences; both are keys."""
    where = comparison.measured_on(next(iter(entries.values())))
    possible = [name for name, c in found.items() if comparison.measured_on(c) == where]
    taught = [(c.card.get("teacher") or {}).get("sha256") for c in entries.values()]
    usual = next((name for name in possible if found[name].sha256 in taught), None)
    left, right = st.columns(2)
    with right:
        teacher = choice.pick_one(
            "teacher",
            "Teacher",
            possible,
            usual,
            "compare_teacher",
            known=found,
            index=None,
            placeholder="No teacher",
            help="Agreement and KL compare each network's answers with this one's",
        )
    scratch = [name for name, c in entries.items() if c.card.get("method") == "scratch" and name != teacher]
    with left:
        baseline = choice.pick_one(
            "baseline",
            "Pinned baseline",
            list(entries),
            scratch[0] if scratch else next(iter(entries)),
            "compare_baseline",
            known=found,
            format_func=lambda name: names.get(name, name),
            help="Differences and McNemar's p are to this network, on the same images",
        )
    return teacher, baseline


# --- The table ------------------------------------------------------------------------------------------------


def table_view(table: list[dict[str, Any]], baseline: str, teacher: str | None, labels: np.ndarray | None) -> None:
    """The rows for the eye, what is missing, and the files."""
    column = st.column_config

    def number(label: str, form: str, text: str) -> Any:
        return column.NumberColumn(label, format=form, help=text)

    shown = [display(row, teacher) for row in table]
    empty = {key for key in ("latency", "people") if all(row[key] is None for row in table)}
    st.dataframe(
        shown,
        hide_index=True,
        placeholder="–",
        key="compare_table",
        column_order=[key for key in shown[0] if key not in empty],
        column_config={
            "name": column.TextColumn("Network", pinned=True),
            "method": column.TextColumn("Method"),
            "objective": number("Objective", "%.3f", "What this network minimised: not comparable between methods"),
            "cross_entropy": number("Cross-entropy", "%.3f", "Nats, on the measured images: comparable"),
            "people": number("Cross-entropy to people", "%.3f", "Nats at T = 1, against CIFAR-10H's answers"),
            "accuracy": number("Accuracy %", "%.2f", "Share of the measured images that are right"),
            "interval": column.TextColumn("95 % interval", help="Wilson's interval for the accuracy"),
            "difference": number("To baseline", "%+.2f", f"Points of accuracy above {baseline}"),
            "p": column.TextColumn("McNemar p", help="Chance of so uneven a split of the images that only one of "
                                   "the two gets right, were both equally good; exact, two-sided"),
            "calibration_error": number("Calibration error %", "%.2f", "Expected calibration error in 15 bins"),
            "teacher_agreement": number("Agrees with teacher %", "%.2f", "Same answer as the teacher"),
            "teacher_kl": number("KL from teacher", "%.3f", "Mean KL(teacher ‖ network) at T = 1, in nats"),
            "parameters": number("Parameters", "localized", "Learned numbers"),
            "multiply_adds": number("Multiply-adds (M)", "%.1f", "Millions for one image"),
            "latency": number("Latency (ms)", "%.2f", "One image on this machine's processor, median"),
            "size": number("Size (kB)", "%.0f", "Weights on disk, float16"),
            "train_images": number("Training images", "localized", "Images that it was trained on"),
            "epochs": number("Epochs", "%d", "Passes over them"),
        },
        alt="Results table: one row a network with objective, cross-entropy, accuracy, tests, likeness and cost",
    )  # fmt: skip
    st.caption(
        f"Measured on {table[0]['measured_on']}. Objective and cross-entropy are two columns because each method "
        "minimises another sum. One training run a row; the last epoch's weights, nothing chosen on the test images."
    )
    if labels is None:
        st.info(
            "The labels of these images are not here, so calibration, McNemar's p, confusion and classes are missing: "
            "objective, cross-entropy and accuracy come from each network's card. Get CIFAR-10 on the page Launch."
        )
    with st.container(horizontal=True):
        for name, text, kind in (
            ("CSV", export.as_csv(table), "text/csv"),
            ("JSON", export.as_json(table), "application/json"),
            ("Markdown", export.as_markdown(table, baseline), "text/markdown"),
        ):
            ending = {"Markdown": "md"}.get(name, name.lower())
            st.download_button(
                f"Download {name}", text, f"kdexplorer-table.{ending}", kind, key=f"download_{ending}",
                on_click="ignore", icon=":material/download:",
            )  # fmt: skip


def take_home(guide: tuple[str, Checkpoint] | None, shown: dict[str, Checkpoint]) -> None:
    """The handout's button: the teacher, its first four students here, and all rows of the table."""
    if guide is None:
        return
    teacher = guide[1]
    students = [(n, c) for n, c in shown.items() if c.sha256 != teacher.sha256 and c.classes == teacher.classes]
    handouts.button(dict([guide, *students[:4]]), [], choice.temperature(), choice.alpha(), compared=shown)


def display(row: dict[str, Any], teacher: str | None = None) -> dict[str, Any]:
    """A row in the units that the eye wants."""
    factors = {"multiply_adds": 1e-6, "latency": 1e3, "size": 1e-3, "difference": 100} | dict.fromkeys(PER_CENT, 100)
    shown = {}
    for key in comparison.COLUMNS:
        if key == "accuracy_low":
            shown["interval"] = f"{100 * row['accuracy_low']:.2f} – {100 * row['accuracy_high']:.2f}"
        elif key == "p":
            shown["p"] = (
                None if row["p"] is None else comparison.p_text(row["p"]).removeprefix("p = ").removeprefix("p ")
            )
        elif key not in ("accuracy_high", "seed"):
            value = row[key]
            shown[key] = value * factors[key] if key in factors and value is not None else value
    if row["name"] == teacher and row["method"] == "scratch":
        shown["method"] = "teacher"
    return shown


# --- Behind the table -----------------------------------------------------------------------------------------


def draw(chart: Any, key: str) -> None:
    """A chart with its alt text."""
    st.vega_lite_chart(chart, key=key)  # its description is its alt text


def needs_labels(labels: np.ndarray | None, logits: dict[str, np.ndarray]) -> bool:
    """Whether a section that needs labels and stored answers can be drawn; says why not."""
    if labels is None:
        st.info("This needs the labels of the measured images, which come with CIFAR-10: get it on the page Launch.")
    elif not logits:
        st.info("None of the chosen networks has stored answers: the file test_logits.npz is missing or damaged.")
    return labels is not None and bool(logits)


def cost_section(table: list[dict[str, Any]], looks: Any, latency: dict[str, float]) -> None:
    """Accuracy against what a network costs; latency is measured when it is asked for."""
    kinds = [key for key in charts_compare.COSTS if any(row.get(key) for row in table)]
    cost = st.segmented_control(
        "Cost", kinds, format_func=lambda key: charts_compare.COSTS[key][0], default=kinds[0], key="cost", required=True
    )
    draw(charts_compare.accuracy_cost(table, looks, cost or kinds[0]), "cost_chart")
    missing = sorted({row["architecture"] for row in table} - latency.keys())
    if missing and st.button(f"Measure latency here ({', '.join(missing)})", key="latency", icon=":material/timer:"):
        for architecture in missing:
            with st.spinner(f"Timing {architecture} on this machine …"):
                cached.cost(architecture)
        st.session_state["latency_measured"] = st.session_state.get("latency_measured", set()) | set(missing)
        st.rerun()


def curves_section(entries: dict[str, Checkpoint], opened: list[str], names: dict[str, str], teacher: Any) -> None:
    """Learning curves: of the chosen networks from their cards, of runs that are not finished from their folders."""
    roles = {names[key]: charts.role(checkpoint, teacher) for key, checkpoint in entries.items()}
    rows, alike = comparison.learning_curves({names[key]: c for key, c in entries.items()}, teacher)
    longest = max((len(checkpoint.history) for checkpoint in entries.values()), default=1)
    there = {(checkpoint.card.get("run"), checkpoint.name) for checkpoint in entries.values()}
    for run_id in opened:
        try:
            run = runs.find(run_id)
            made = run.config()
        except KDError:
            continue
        labels = {s.name: f"{s.name} ({made.name})" for s in made.students if (run_id, s.name) not in there}
        roles |= {labels[s.name]: s.method for s in made.students if s.name in labels}
        rows += [row | {"network": labels[row["student"]]} for row in run.metrics() if row["student"] in labels]
        longest = max(longest, made.epochs)
        alike = alike or (run.teacher(len(data.CLASSES[made.dataset])) if not entries else None)
    if not rows:
        st.info("These networks' cards hold no learning curves. Train some on the page Launch, and choose them above.")
        return
    measures = [m for m in charts_runs.MEASURES if any(charts_runs.value_of(row, m) is not None for row in rows)]
    left, right = st.columns(2)
    with left:
        measure = st.segmented_control(
            "Measure", measures, format_func=lambda m: charts_runs.MEASURES[m][0], default=measures[0], key="measure",
            required=True,
        )  # fmt: skip
    with right:
        where = st.segmented_control(
            "On", ["test", "train"], format_func={"test": "Measured images", "train": "Training batches"}.get,
            default="test", key="curves_on", required=True,
        )  # fmt: skip
    looks = style.series(roles)
    chart = charts_runs.learning_curves(rows, looks, measure or measures[0], longest, alike, where or "test")
    if chart is not None:
        draw(chart, "curves_chart")


def two_networks(logits: dict[str, np.ndarray], table: list[dict[str, Any]], key: str) -> tuple[str, str] | None:
    """Two choices among the networks with stored answers; the best distilled and its twin are the first guess."""
    options = list(logits)
    if len(options) < 2:
        st.info("Choose at least two networks with stored answers.")
        return None
    rows = [row for row in table if row["name"] in logits]
    distilled = [row for row in rows if row["method"] in ("response", "feature", "combined")]
    best = max(distilled or rows, key=lambda row: row["accuracy"])
    twin = comparison.twin_of(best, rows) or next(row for row in rows if row is not best)
    left, right = st.columns(2)
    with left:
        first = st.selectbox("First network", options, index=options.index(best["name"]), key=f"{key}_first")
    with right:
        second = st.selectbox("Second network", options, index=options.index(twin["name"]), key=f"{key}_second")
    if first == second:
        st.info("Choose two different networks.")
        return None
    return first, second


def confusion_section(
    logits: dict[str, np.ndarray], labels: np.ndarray, classes: tuple[str, ...], table: list[dict[str, Any]]
) -> None:
    """What is taken for what by two networks, and where they differ."""
    pair = two_networks(logits, table, "confusion")
    if pair is None:
        return
    columns = st.columns(3)
    for column, name in zip(columns, pair, strict=False):
        with column:
            draw(charts_compare.confusion_map(logits[name], labels, classes, name), f"confusion_{name}")
    with columns[2]:
        first, second = (logits[name] for name in pair)
        draw(charts_compare.confusion_difference(first, second, labels, classes, pair), "confusion_difference")


def disagreement_section(
    logits: dict[str, np.ndarray],
    labels: np.ndarray | None,
    table: list[dict[str, Any]],
    entries: dict[str, Checkpoint],
    names: dict[str, str],
    teacher: str | None,
) -> None:
    """The images that two networks answer differently, each with a link that opens it."""
    pair = two_networks(logits, table, "differ")
    if pair is None:
        return
    first, second = (logits[name] for name in pair)
    groups = comparison.disagreements(first, second, labels)
    words = {
        "first": f"Only {pair[0]} is right",
        "second": f"Only {pair[1]} is right",
        "neither": "Neither is right",
        "all": "All",
    }
    kinds = [kind for kind in words if kind in groups]
    kind = st.segmented_control(
        "Images", kinds, format_func=lambda k: f"{words[k]} ({len(groups[k]):,})", default=kinds[0], key="differ_kind",
        required=True,
    )  # fmt: skip
    checkpoint = next(iter(entries.values()))
    dataset, classes = cached.dataset_of(checkpoint), checkpoint.classes
    pixels, _, indices = cached.gallery(dataset)
    place = {int(index): rank for rank, index in enumerate(indices)}
    shown = [int(index) for index in groups[kind or kinds[0]] if int(index) in place]
    if not shown:
        st.info("There is no such image" + (" among the sample images here." if labels is None else "."))
        return
    pages = -(-len(shown) // SHOWN)
    page = st.pagination(pages, key=f"differ_page_{kind}") if pages > 1 else 1
    keys = {short: key for key, short in names.items()}
    students = [keys[name] for name in pair if keys[name] != teacher]
    with st.container(horizontal=True, gap="medium"):
        for index in shown[(page - 1) * SHOWN : page * SHOWN]:
            with st.container(width=190, border=True):
                st.image(images.enlarged_png(pixels[place[index]].transpose(1, 2, 0), 160), width=160)
                true = "" if labels is None else f"**{classes[labels[index]]}**, "
                st.markdown(f"{true}image {index}")
                for name, values in zip(pair, (first, second), strict=True):
                    probabilities = np.exp(metrics.log_softmax(values[index]))
                    answer = int(probabilities.argmax())
                    st.caption(f"{name}: {classes[answer]}, {probabilities[answer]:.0%}")
                query = {"image": str(index), "students": ",".join(students)} | (
                    {"teacher": teacher} if teacher else {}
                )
                st.page_link("pages/soft_labels.py", label=f"Open image {index}", query_params=query)


def main() -> None:
    """The choice, the table, the two answers, and one section at a time."""
    st.title("Compare")
    found = choice.networks()
    entries, opened = pick(found)
    if not entries:
        st.info(
            "Choose networks above, or a run whose students have finished. A teacher, its students, and a twin from "
            "scratch make the best table: they show what the teacher changed."
        )
        if opened:
            curves_section({}, opened, {}, None)
        return
    refuse_a_mixture(entries)
    names = comparison.short_names(list(entries))
    teacher, baseline = pick_references(entries, found, names)
    shown = {names[key]: checkpoint for key, checkpoint in entries.items()}
    with st.spinner("Comparing the stored answers …"):
        labels = cached.labels_of(next(iter(entries.values())))
        measured = st.session_state.get("latency_measured", set())
        latency = {name: cached.cost(name)["latency"] for name in measured & {c.architecture for c in entries.values()}}
        guide = (names.get(teacher, teacher), found[teacher]) if teacher else None
        answers = cached.peoples_answers()
        table = cached.comparison_rows(shown, guide, names[baseline], labels is not None, latency, answers)
        logits = {name: cached.logits_or_none(checkpoint) for name, checkpoint in shown.items()}
    table_view(table, names[baseline], guide[0] if guide else None, labels)
    take_home(guide, shown)
    uneven = comparison.training_differs(shown)
    if uneven:
        st.warning(f"{uneven}.")
    left, right = st.columns(2)
    with left, st.container(border=True):
        st.markdown("**Why is the distilled student's loss larger?**")
        st.markdown(comparison.why_the_loss_is_larger(table))
    with right, st.container(border=True):
        st.markdown("**Did a student really beat its teacher, or its twin?**")
        st.markdown(comparison.really_better(table, logits, labels, guide[0] if guide else None))
    section = choice.get("show", SECTIONS[0], lambda text: text if text in SECTIONS else SECTIONS[0])
    st.session_state["compare_show"] = section
    st.segmented_control(
        "Look closer", SECTIONS, key="compare_show", required=True, on_change=choice.remember,
        args=("show", "compare_show"),
    )  # fmt: skip
    guide_network = found[teacher] if teacher else None
    looks = style.series({name: charts.role(checkpoint, guide_network) for name, checkpoint in shown.items()})
    stored = {n: v for n, v in logits.items() if v is not None and (labels is None or len(v) == len(labels))}
    classes = next(iter(entries.values())).classes
    if section == "Accuracy and cost":
        cost_section(table, looks, latency)
    elif section == "Learning curves":
        curves_section(entries, opened, names, guide_network)
    elif section == "Sweep":
        sweeps.section()
    elif section == "Disagreements":
        disagreement_section(stored, labels, table, entries, names, teacher)
    elif needs_labels(labels, stored):
        if section == "Calibration":
            draw(charts_compare.reliability(stored, labels, looks), "reliability")
        elif section == "Classes":
            draw(charts_compare.per_class(stored, labels, looks, classes), "per_class")
        else:
            confusion_section(stored, labels, classes, table)


choice.through_the_door()
try:
    main()
except KDError as error:
    st.error(str(error))
