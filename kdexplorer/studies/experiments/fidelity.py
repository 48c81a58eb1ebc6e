"""Fidelity is not accuracy: does the student that agrees most with its teacher classify best?"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations

from kdexplorer.analysis.difference import Verdict, correct, over_images
from kdexplorer.analysis.measures import Evaluation
from kdexplorer.analysis.results import describe_evaluation
from kdexplorer.config import SCRATCH
from kdexplorer.datasets.cifar10 import Cifar10
from kdexplorer.methods import all_methods
from kdexplorer.runs import lineage
from kdexplorer.runs.checkpoints import bundled_checkpoints
from kdexplorer.studies.experiments.base import Claim, Experiment, Plot, Point, Results
from kdexplorer.studies.table import Entry, Row, Table, bundled_tables, describe_network, evaluate_row, unpack_bits

BUNDLED = "bundled networks"
IMAGES = 10_000
"""Of the test split, in all tables."""


def measure(table: Table, small: bool) -> Iterator[Table]:
    """All of it anew, which takes seconds."""
    networks = {checkpoint.name: checkpoint for checkpoint in bundled_checkpoints()}
    taught = lineage.name_relatives(networks, lineage.teacher_of)
    baselines = lineage.name_relatives(networks, lineage.scratch_baseline_of)  # compared with their students' teacher
    teachers = {baseline: taught[student] for student, baseline in baselines.items() if student in taught} | taught
    rows, entries, described, labels = list[Row](), dict[str, Entry](), "", Cifar10().test_labels()
    for name in (name for name in networks if name in teachers):
        own, teacher = networks[name], networks[teachers[name]]
        logits, theirs = (one.card.split_logits(one.logits_or_none(), Cifar10.key) for one in (own, teacher))
        if labels is None or logits is None or theirs is None:
            continue
        measures, part = ("accuracy", "calibration_error", "teacher_agreement"), f"{BUNDLED}, teacher {teacher.name}"
        rows.append(evaluate_row(name, Evaluation(logits, labels, theirs), measures, part))
        entries |= {one.name: describe_network(one) for one in (own, teacher)}
        described = describe_evaluation(own)
    for entry, row in _rows_of_tables(described):
        rows.append(row)
        entries.setdefault(entry.name, entry)
    yield Table(rows=rows, entries=list(entries.values()), images=IMAGES, evaluated_on=described)


def judge(results: Results) -> list[Claim]:
    """Pairs of bundled students."""
    claim = "Of two students of a teacher, the one that agrees more with it is more accurate"
    distilled = _distilled(results.measured)
    stored = [row for row in distilled if row.right and row.agrees]
    pairs = [(a, b) for a, b in combinations(stored, 2) if (a.part, _architecture(a)) == (b.part, _architecture(b))]
    if not pairs:
        return [Claim(claim, "There are no two students of one teacher and architecture.", "cannot be decided")]
    count = results.measured.images or 0
    tests = correct({
        (number, bits): over_images(unpack_bits(getattr(own, bits), count), unpack_bits(getattr(other, bits), count))
        for number, (own, other) in enumerate(pairs)
        for bits in ("agrees", "right")
    })  # fmt: skip
    signs = [tests[number, "agrees"].sign * tests[number, "right"].sign for number in range(len(pairs))]
    opposed, same = [pair for pair, sign in zip(pairs, signs, strict=True) if sign < 0], signs.count(1)
    verdict: Verdict = "not supported" if opposed else "supported" if same == len(pairs) else "cannot be decided"
    undecided = [tests[number, "right"].detectable or 0 for number, sign in enumerate(signs) if not sign]
    ends = f"{100 * min(undecided):.2f} to {100 * max(undecided):.2f}" if undecided else ""
    power = f" (80 % power, alone, at {ends} points of accuracy)" if undecided else ""
    named = "; ".join(f"{own.entry} and {other.entry}" for own, other in opposed)
    against = f" The two orders differ clearly for {named}." if opposed else ""
    needs = f"more test images than {count:,}, or pairs whose accuracies differ more"
    closest = max(distilled, key=lambda row: row.measures.get("teacher_agreement", 0))
    evidence = (
        f"Of {len(pairs)} pairs of students, {same} differ clearly in agreement and accuracy the same way, "
        f"{len(opposed)} in opposite ways, and {len(undecided)} are undecided{power} (images, after "
        f"Holm's correction).{against} The closest of {len(distilled)} distilled students, {closest.entry}, predicts "
        f"another class than its teacher on {100 * (1 - closest.measures.get('teacher_agreement', 0)):.1f} % of the "
        "test images."
    )
    return [Claim(claim, evidence, verdict, needs)]


def figure(results: Results) -> Plot:
    """Accuracy over agreement."""
    distilled = {row.entry for row in _distilled(results.measured)}
    points, roles = list[Point](), dict[str, str]()
    for row in results.measured.rows:
        if "teacher_agreement" in row.measures:
            series = f"{_architecture(row)}, {'distilled' if row.entry in distilled else 'without a teacher'}"
            label = f"{row.entry} ({row.part})"
            points.append(Point(series, 100 * row.measures["teacher_agreement"], 100 * row.accuracy, label))
            roles.setdefault(series, "kd" if row.entry in distilled else SCRATCH)
    return Plot(
        "scatter", "Agreement with the teacher, and accuracy", f"{len(points)} students", "same class as the "
        "teacher (% of test images)", tuple(points), roles, "test accuracy (%)",
    )  # fmt: skip


def _rows_of_tables(described: str) -> Iterator[tuple[Entry, Row]]:
    """Students of which only the measures are bundled, of studies that have all their seeds, on the same images."""
    grids, others = bundled_tables(with_grid=True), bundled_tables(with_grid=False)
    for name, table in (grids | others).items():
        architecture = table.declared.architecture
        keys = {entry.name: entry.key for entry in table.entries}
        for row in () if table.missing() or table.evaluated_on != described else table.rows:
            measures = {key: row.measures[key] for key in ("accuracy", "teacher_agreement") if key in row.measures}
            entry = row.entry if name in grids else f"{architecture}-{row.entry}"
            part = f"sweep {name}" if name in grids else name
            yield Entry(name=entry, key=keys[row.entry]), Row(part=part, entry=entry, seed=row.seed, measures=measures)


def _distilled(table: Table) -> list[Row]:
    """Students that a teacher taught: not those from scratch, nor of methods that use none, such as Tf-KD."""
    taught = {method.key for method in all_methods() if method.needs}
    names = {entry.name for entry in table.entries if taught & set(entry.key.split("+"))}
    return [row for row in table.rows if row.entry in names]


def _architecture(row: Row) -> str:
    return row.entry.partition("-")[0]


EXPERIMENT = Experiment(
    order=6,
    key="fidelity",
    title="Fidelity is not accuracy",
    question="Is the student that agrees most with its teacher the most accurate one?",
    literature=(
        "Students often agree far less with their teachers than they could, and those that agree more do not always "
        "generalize better (Stanton et al., “Does Knowledge Distillation Really Work?”, NeurIPS 2021)."
    ),
    protocol=(
        "All bundled students with stored logits of the 10,000 test images, and the bundled tables of studies and "
        "sweeps. Nothing is trained. Agreement is the share of test images on which student and teacher predict the "
        "same class."
    ),
    comparison=(
        "Each two distilled bundled students of one architecture and one teacher, in agreement and in accuracy; the "
        "unit is the image, exact paired tests with Holm's correction. Supported where all pairs differ clearly in "
        "both the same way, not supported where one of two agrees clearly more and is clearly less accurate. Declared "
        "at first was the opposite claim, that such a pair exists; most pairs are undecided, which does not speak "
        "against it."
    ),
    expected="Agreement and accuracy rise together, because the teacher is mostly right; the order differs in places.",
    change="Train a student for longer or with another method; its card is compared on the page Compare.",
    cost="A few seconds: everything follows from stored logits and tables.",
    judge=judge,
    figure=figure,
    measure=measure,
)
