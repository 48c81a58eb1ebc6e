"""The lab report's claims, each with the evidence of these networks and of the bundled studies, and a verdict.

Images are the unit of what is said of networks (each was trained once), seeds that of what is said of settings and
methods. A verdict is never better than its evidence.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np

from kdexplorer.analysis import difference, measures
from kdexplorer.analysis import results as networks
from kdexplorer.analysis.difference import ENOUGH_SEEDS, Difference, Verdict, correct, over_shares
from kdexplorer.analysis.metrics import softmax
from kdexplorer.config import SCRATCH
from kdexplorer.datasets.cifar10 import Cifar10
from kdexplorer.errors import DataError, KDError
from kdexplorer.networks import get_architecture
from kdexplorer.runs.checkpoints import bundled_checkpoints, find_teachers
from kdexplorer.studies.experiments import base
from kdexplorer.studies.experiments.base import Claim, Experiment, Plot, Point, Results
from kdexplorer.studies.table import Row, Table, accuracies_by, bundled_tables, describe_network, pack_bits, summarize

LAB = {
    "resnet50": (0.43, 0.9090),
    "resnet18-scratch": (0.49, 0.9039),
    "resnet18-response": (0.84, 0.9135),
    "resnet18-feature": (1.82, 0.9151),
}
"""What the lab reported of 10,000 test images: loss and accuracy, by the name of the bundled network."""

LAB_IMAGES = 10_000

BETA = 1000.0
"""The lab's weight of the attention term."""

LAB_STUDY = "lab-resnet18"
"""The bundled study that trains the lab's students with several seeds."""

LAB_EXAMPLE, LAB_SOFTENED = (0.93, 0.05, 0.02), (0.51, 0.28, 0.21)
"""The report's example: predictions, and what it says they are at T = 4."""
TEACHER, BASELINE = "teacher ", "scratch baseline "
"""How the parts begin of rows that relate a student to another network, whose name follows."""


def measure(table: Table, small: bool) -> Iterator[Table]:
    """All of it anew: from the cards and the stored logits, which takes seconds."""
    evaluated = ((one, one.card.evaluation_dataset) for one in bundled_checkpoints())
    checkpoints = {one.name: one for one, dataset in evaluated if dataset is not None and dataset.key == Cifar10.key}
    first, labels = next(iter(checkpoints.values()), None), Cifar10().test_labels()
    if first is None or labels is None:
        raise DataError("the bundled networks or the labels of the test images are missing.")
    logits = {name: checkpoint.logits_or_none() for name, checkpoint in checkpoints.items()}
    described = networks.build_rows(checkpoints, logits, labels)
    rows = [row for one in described for row in _describe(one, logits[one.name], labels)]
    entries = [describe_network(checkpoint) for checkpoint in checkpoints.values()]
    yield Table(rows=rows, entries=entries, images=len(labels), evaluated_on=networks.describe_evaluation(first))


def _describe(one: networks.ResultRow, logits: np.ndarray | None, labels: np.ndarray) -> Iterator[Row]:
    """A network's row, and those that relate it to its teacher and its scratch baseline."""
    right = pack_bits(logits.argmax(axis=1) == labels) if logits is not None and len(logits) == len(labels) else ""
    always = {"accuracy": one.accuracy, "cross_entropy": one.cross_entropy}
    terms = one.objective_terms.terms if one.objective_terms else ()
    own = {"objective": one.objective}
    if any((term.method, term.weight) == ("at", BETA) for term in terms):
        own["attention_term"] = one.terms.get("at")
    known = {name: value for name, value in own.items() if value is not None}
    yield Row(entry=one.name, measures=always | known, right=right)
    if one.to_teacher is not None:
        yield Row(part=f"{TEACHER}{one.to_teacher.other}", entry=one.name, measures=always)
    scaled = one.scaled_to_scratch_baseline
    if scaled is not None:
        more = {"scaled_difference": scaled.estimate, "half_interval": scaled.half}
        yield Row(part=f"{BASELINE}{scaled.other}", entry=one.name, measures=always | more)


def judge(results: Results) -> list[Claim]:
    """Every claim."""
    grid = next(iter(bundled_tables(with_grid=True).values()), None)
    temperatures, weights = (accuracies_by(grid, axis) if grid else {} for axis in (0, 1))
    table = results.measured
    return [
        judge_setting("T of 3 to 5 is best", "T", temperatures, (3, 5)),
        judge_setting("T of 10 or more is worse", "T", temperatures, (3, 5), least=10),
        judge_setting("α of 0.7 to 0.9 is best", "α", weights, (0.7, 0.9)),
        judge_example(),
        judge_channels(("resnet18", "resnet50")),
        judge_beta(table),
        *judge_beating(table),
        *judge_study(bundled_tables(with_grid=False).get(LAB_STUDY)),
        judge_larger_loss(table),
    ]


def judge_setting(
    claim: str, setting: str, values: Mapping[float, Sequence[float]], inside: tuple[float, float], least: float = 0
) -> Claim:
    """Whether the best value of a setting inside a range beats those outside it, or of these those from `least` on.

    `values` are accuracies by seed, 0 to 1, of the same seeds. Paired by seed with Holm's correction.
    """
    means = {value: float(np.mean(seeds)) for value, seeds in values.items()}
    listed = ", ".join(f"{setting} = {value:g}: {100 * mean:.2f} %" for value, mean in sorted(means.items()))
    own = [value for value in values if inside[0] <= value <= inside[1]]
    others = [value for value in values if value not in own and value >= least]
    if not own or not others:
        tried = f"The sweep has no such {setting} ({listed})" if listed else "There is no sweep"
        rest = f"of {least:g} or more" if least else "others"
        needs = f"a sweep with {setting} of {inside[0]:g} to {inside[1]:g} and {rest}"
        return Claim(claim, f"{tried}.", "cannot be decided", needs)
    best = max(own, key=means.__getitem__)
    seeds = len(values[best])
    evidence = f"{listed}, means over {seeds} seed{'s' if seeds > 1 else ''}"
    if seeds < ENOUGH_SEEDS:
        freedom = (seeds - 1) * len(values)
        deviation = float(np.mean([np.var(one, ddof=1) for one in values.values()])) ** 0.5 if freedom else 0.0
        found = difference.find_detectable(deviation * (2 / seeds) ** 0.5, freedom) if freedom else 0.0
        power = f" (80 % power, alone and with pooled variance, at {100 * found:.2f} points)" if found else ""
        needs = f"at least {ENOUGH_SEEDS} seeds instead of {seeds}"
        return Claim(claim, f"{evidence}: fewer than {ENOUGH_SEEDS}{power}.", "cannot be decided", needs)
    pairs = {
        f"{setting} = {best:g} to {other:g}": dict(enumerate(np.subtract(values[best], values[other]).tolist()))
        for other in others
    }
    judged = base.judge_differences(claim, pairs)
    return replace(judged, evidence=f"{evidence}. {judged.evidence}")


def judge_example() -> Claim:
    """The report's arithmetic, which needs no network."""
    exact = softmax(np.log(LAB_EXAMPLE), 4.0)
    given, told = (" / ".join(f"{p:.2f}" for p in one) for one in (LAB_EXAMPLE, LAB_SOFTENED))
    found = " / ".join(f"{p:.3f}" for p in exact)
    verdict: Verdict = "supported" if np.allclose(exact, LAB_SOFTENED, atol=0.005) else "not supported"
    return Claim(f"{given} becomes {told} at T = 4", f"It becomes {found}.", verdict)


def judge_channels(architectures: tuple[str, str]) -> Claim:
    """Whether the mean over channels makes the stages of two architectures comparable: student's, then teacher's."""
    student, teacher = (get_architecture(key) for key in architectures)
    own, other = student.stages, teacher.stages
    channels = [" – ".join(str(stage.channels) for stage in stages) for stages in (own, other)]
    evidence = f"{student.label} has {channels[0]} channels, {teacher.label} {channels[1]}"
    same = [stage.reduction for stage in own] == [stage.reduction for stage in other]
    maps = "the maps without channels have the same sizes" if same else "but the maps' sizes differ too"
    claim = "The mean over channels solves the mismatch of channels"
    return Claim(claim, f"{evidence}; {maps}.", "supported" if same else "not supported")


def judge_beta(table: Table) -> Claim:
    """Whether the unweighted attention term is of the size that β = 1000 is meant for."""
    claim = "β is 1000 because the term is of size 0.001"
    terms = [row.measures["attention_term"] for row in table.rows if "attention_term" in row.measures]
    if not terms:
        return Claim(claim, "No network with this term is available.", "cannot be decided", "a network with it")
    within = [10**-3.5 <= value < 10**-2.5 for value in terms]
    verdict: Verdict = "supported" if all(within) else "cannot be decided" if any(within) else "not supported"
    size = f"{min(terms):.2g} to {max(terms):.2g}" if len(terms) > 1 else f"{terms[0]:.2g}"
    evidence = (
        f"After training with it, which makes it smaller, it is {size} in {len(terms)} "
        f"network{'s' if len(terms) > 1 else ''} with this β. No other was tried for them, so the best β is unknown."
    )
    return Claim(claim, evidence, verdict)


def _related(table: Table, kind: str) -> Iterator[tuple[Row, Row, Row]]:
    """Of each student that has such a relation: its row, the other network's, and that of the relation."""
    alone = {row.entry: row for row in table.rows if not row.part}
    for row in table.rows:
        if row.part.startswith(kind):
            yield alone[row.entry], alone[row.part.removeprefix(kind)], row


def judge_beating(table: Table) -> list[Claim]:
    """Whether distilled students beat their teacher, for each teacher: McNemar's tests with Holm's correction."""
    by_teacher = dict[str, dict[str, Difference]]()
    for own, other, _ in _related(table, TEACHER):
        right, other_right = table.right(own), table.right(other)
        if right is not None and other_right is not None:
            found = replace(difference.over_images(right, other_right), estimate=own.accuracy - other.accuracy)
            by_teacher.setdefault(other.entry, {})[own.entry] = found
    students = [LAB[name][1] for name in ("resnet18-response", "resnet18-feature")]
    told = [over_shares(share, LAB["resnet50"][1], LAB_IMAGES).points for share in students]
    lab = f"In the lab {' and '.join(told)} points, unpaired; a paired test would need its predictions. "
    claim, judged = "Distilled students beat their teacher", list[Claim]()
    if not by_teacher:
        evidence = f"{lab}No paired test is possible here."
        return [Claim(claim, evidence, "cannot be decided", "predictions of a teacher and its students")]
    for teacher, tests in by_teacher.items():
        paired = correct(tests)
        listed = [f"{name} {100 * one.estimate:+.2f} ({one.simultaneous.bounds()})" for name, one in paired.items()]
        above, below = (sum(one.sign == sign for one in paired.values()) for sign in (1, -1))
        verdict: Verdict = (
            "supported" if above == len(paired) else "not supported" if below > above else "cannot be decided"
        )
        evidence = (
            f"{lab if teacher in LAB else ''}Here {', '.join(listed)}: {above} clearly above, {below} clearly below of "
            f"{len(paired)}, by McNemar with Holm's correction."
            f"{base.describe_undecided(paired) if verdict == 'cannot be decided' else ''}"
        )
        judged.append(Claim(f"{claim} {teacher}", evidence, verdict, base.say_what_decides(paired)))
    return judged


def judge_study(study: Table | None) -> list[Claim]:
    """Whether the study's distilled students beat the one trained from labels, and their teacher, over seeds."""
    if study is None:
        return []
    students = {name: study.values(name) for name in study.declared.entries}
    others = {"one trained from labels": students.pop(SCRATCH)}
    with contextlib.suppress(KDError):  # an installed package is without the teacher
        for teacher in find_teachers(study.declared.shared.teacher):
            others[f"its teacher {teacher.name}"] = dict.fromkeys(study.declared.seeds, teacher.card.test_accuracy)
    return [
        base.judge_differences(
            f"With seeds, a distilled ResNet-18 beats {name}",
            {student: base.differences(own, other) for student, own in students.items()},
        )
        for name, other in others.items()
    ]


def judge_larger_loss(table: Table) -> Claim:
    """Whether distilled students have the larger loss, where it can be compared: cross-entropy, scaled."""
    claim = "The distilled students' cross-entropy is larger after temperature scaling"
    pairs = list(_related(table, BASELINE))
    if not pairs:
        evidence = "No distilled student has a scratch baseline and stored logits here."
        return Claim(claim, evidence, "cannot be decided", "such a pair")
    objective, raw = (
        sum(own.measures.get(name, 0) > other.measures.get(name, 0) for own, other, _ in pairs)
        for name in ("objective", "cross_entropy")
    )
    scaled = []
    for *_, row in pairs:
        value, half = row.measures["scaled_difference"], row.measures["half_interval"]
        one = Difference(value, (value - half, value + half), count=table.images or 0, family=len(pairs))
        scaled.append(one.simultaneous)
    higher, lower = (sum(one.sign == sign for one in scaled) for sign in (1, -1))
    evidence = (
        f"The objective, another sum for each method, is larger for {objective} of {len(pairs)}; cross-entropy, which "
        f"can be compared, for {raw}; after temperature scaling it is clearly larger for {higher} and clearly smaller "
        f"for {lower}, by simultaneous 95 % intervals."
    )
    verdict: Verdict = (
        "supported" if higher == len(pairs) else "not supported" if lower and not higher else "cannot be decided"
    )
    return Claim(claim, evidence, verdict)


def compare_with_lab(table: Table) -> dict[str, tuple[Row, Difference]]:
    """The networks that the lab trained too, by name: their row, and the accuracy minus the lab's."""
    rows = [row for row in table.rows if row.entry in LAB and not row.part] if table.images == LAB_IMAGES else []
    return {row.entry: (row, over_shares(row.accuracy, LAB[row.entry][1], LAB_IMAGES)) for row in rows}


def describe_lab(table: Table) -> str:
    """The lab's measures beside these networks' as a Markdown table, and which are exceeded by more than chance."""
    compared = compare_with_lab(table)
    if not compared:
        return "None of the lab's networks is among these."
    lines, kinds = [], dict[str, list[str]]()
    for name, (row, to_lab) in compared.items():
        loss, accuracy = LAB[name]
        lines.append({
            "Network": name, "The lab's loss": f"{loss:.2f}", "The lab's accuracy": f"{100 * accuracy:.2f} %",
            **measures.tabulate([row], ("objective", "cross_entropy"))[0], "Accuracy": f"{100 * row.accuracy:.2f} %",
            "To the lab": to_lab.points,
        })  # fmt: skip
        kind = "more than chance explains" if to_lab.sign else "which can be chance"
        kinds.setdefault(kind, []).append(f"{name} {to_lab.points}")
    listed = [f"{', '.join(kinds[kind])}: {kind}." for kind in sorted(kinds)]
    text = "Points to the lab's accuracy, in an unpaired test because its predictions are unknown"
    return f"{measures.to_markdown(lines)}\n\n{text}: {' '.join(listed)}"


def describe_tables(results: Results) -> str:
    """What the lab reported beside these networks, and beside the study's students with means over seeds: Markdown."""
    lines, described = [], describe_lab(results.measured)
    if (study := bundled_tables(with_grid=False).get(LAB_STUDY)) is None:
        return described
    for one in summarize(study):
        lab, to_scratch = LAB.get(f"resnet18-{one.name}"), one.differences.get(SCRATCH)
        low, high = one.interval or (one.accuracy, one.accuracy)
        lines.append({
            "Student": one.name, "The lab's accuracy": f"{100 * lab[1]:.2f} %" if lab else "",
            **measures.tabulate([one.means], ("objective", "cross_entropy"))[0],
            "Accuracy by seed": ", ".join(f"{100 * value:.2f}" for value in one.values()),
            "Mean, 95 % interval": f"{100 * one.accuracy:.2f} % ({100 * low:.2f} – {100 * high:.2f})",
            "To scratch": f"{100 * to_scratch.estimate:+.2f}" if to_scratch else "",
        })  # fmt: skip
    seeds = len(study.declared.seeds)
    said = f"ResNet-18 trained anew with {seeds} seeds, means over seeds:"
    return f"{described}\n\n{said}\n\n{measures.to_markdown(lines)}"


def figure(results: Results) -> Plot:
    """The accuracies of the lab's networks, there and here."""
    points = []
    for name, (row, _) in compare_with_lab(results.measured).items():
        for series, share in (("in the lab", LAB[name][1]), ("here", row.accuracy)):
            low, high = difference.wilson_interval(share, LAB_IMAGES)
            points.append(Point(series, 100 * share, label=name, low=100 * low, high=100 * high))
    return Plot(
        "dots", "The lab's networks, there and here", "95 % intervals over 10,000 test images", "test accuracy (%)",
        tuple(points), {"in the lab": SCRATCH, "here": "kd"},
    )  # fmt: skip


EXPERIMENT = Experiment(
    order=9,
    key="lab-claims",
    title="The lab report's claims",
    question="What of the lab report holds for these networks?",
    literature=(
        "The report of the lab that this application grew from: ResNet-50 teaches ResNet-18 on CIFAR-10 by its "
        "predictions (T = 4, α = 0.7) or by its spatial attention (β = 1000)."
    ),
    protocol=(
        "The bundled networks with stored logits of the 10,000 test images, each trained from one seed, the "
        "bundled sweep over temperature and weight, and the bundled study of the lab's students. Nothing is trained."
    ),
    comparison=(
        "Each claim has the evidence that fits it. Networks: exact paired tests over images with Holm's correction. "
        "Settings: paired t tests over seeds, of which five are needed. The lab's accuracies: unpaired tests, because "
        "its predictions are unknown."
    ),
    expected="The arithmetic and the architecture can be checked; the best T and α need more seeds than there are.",
    change="More seeds of the sweep: `python -m kdexplorer sweep --teacher resnet56 --student resnet8 --seeds 5`.",
    cost="A few seconds: everything follows from stored logits and tables.",
    judge=judge,
    figure=figure,
    measure=measure,
    details=describe_tables,
)
