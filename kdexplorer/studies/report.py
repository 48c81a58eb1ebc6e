"""A study's results for readers: headings and cells, Markdown, CSV, and what they decide in sentences."""

from __future__ import annotations

from collections.abc import Mapping

from kdexplorer.analysis import difference, measures
from kdexplorer.analysis.difference import ENOUGH_SEEDS, MARGIN, Difference, format_p, format_p_cell
from kdexplorer.analysis.measures import MEASURES
from kdexplorer.config import objective_label
from kdexplorer.notation import format_student
from kdexplorer.studies.study import Study
from kdexplorer.studies.table import Summary, Table, find_best, summarize

COLUMNS = ("cross_entropy", "scaled_cross_entropy", "calibration_error", "scaled_calibration_error",
           "teacher_agreement", "step_seconds")  # fmt: skip
"""Measures of an entry's line: means over seeds."""

DIFFERENCES = (
    "The accuracy's interval is Student's over seeds. Differences are in percentage points; their 95 % intervals and p "
    "are those of Dunnett's test, with one variance for all entries, and hold for the column together. Paired: of the "
    "differences seed by seed, Student's t intervals with Bonferroni's correction and p with Holm's, for the column "
    "together. Scaled: after temperature scaling in five folds, each evaluated with the temperature that was fitted on "
    "the others."
)
NOTES = (
    f"{DIFFERENCES} Step: an entry's own forward pass, loss, backward pass and update, timed in the same run; whole "
    "step: with the batch and the teacher's forward pass. Memory: weights, gradients and momentum of the student and "
    "of what its methods train beside it, and what autograd keeps of one batch."
)
GRID_NOTES = (
    "Images: the exact paired test of these trained networks on the same images, p also with Holm's correction. "
    f"{DIFFERENCES}"
)


def _cells(one: Summary, study: Study, labels: Mapping[str, str]) -> dict[str, str]:
    """An entry's line; `labels` are all entries' by name."""
    interval = one.interval and f" ({100 * one.interval[0]:.2f} – {100 * one.interval[1]:.2f})"
    cells = {"Entry": one.name, "Method": objective_label(one.entry.key)}
    if study.grid is not None:
        place = (f"{one.place.temperature:g}", f"{one.place.weight:g}") if one.place else ("", "0")
        cells = dict(zip(("T", "Weight"), place, strict=True))
    cells |= {"Seeds": str(len(one.rows)), "Accuracy % (95 % interval)": f"{100 * one.accuracy:.2f}{interval or ''}"}
    shown = [labels.get(reference, reference) for reference in study.references]
    for reference, label in zip(study.references, shown, strict=True):
        found = one.differences.get(reference)
        reach = f" ± {100 * found.half:.2f}" if found and found.interval else ""
        cells[f"To {label}"] = f"{100 * found.estimate:+.2f}{reach}" if found else ""
        cells[f"p to {label}"] = format_p_cell(found.p if found else None)
        tested = found.paired.simultaneous if found and found.paired and found.paired.interval else None
        cells[f"Paired to {label}"] = f"± {100 * tested.half:.2f}, {format_p_cell(tested.p)}" if tested else ""
    cells |= measures.tabulate([one.means], COLUMNS)[0]
    if study.grid is not None:
        p, p_alone = (one.over_images.p, one.over_images.p_alone) if one.over_images else (None, None)
        return cells | {"Images: p": format_p_cell(p_alone), "Images: Holm p": format_p_cell(p)}
    cells[f"Step / {shown[0]}"] = f"{one.own_step:.2f}" if one.own_step else ""
    cells[f"Whole step / {shown[-1]}"] = f"{one.whole_step:.2f}" if one.whole_step else ""
    return cells | measures.tabulate([one.entry], ["memory"])[0]


def format_study(table: Table, summaries: list[Summary]) -> list[dict[str, str]]:
    """Cells by heading, an entry a line: of a grid by place, else the most accurate first.

    Measures that no entry has are left out.
    """
    ordered = summaries if table.declared.grid else sorted(summaries, key=lambda one: -one.accuracy)
    labels = {one.name: one.label for one in summaries}
    lines = [_cells(one, table.declared, labels) for one in ordered]
    unknown = {MEASURES[key].heading for key in COLUMNS if not any(key in one.means for one in summaries)}
    return [{heading: cell for heading, cell in line.items() if heading not in unknown} for line in lines]


def describe_protocol(table: Table) -> str:
    """The pair, the images, the length and the seeds in a sentence."""
    study = table.declared
    config, seeds = study.shared, sorted({run.seed for run in table.runs})
    pair = study.architecture + (f" distilled from {config.teacher}" if config.teacher else " without a teacher")
    evaluated = f"evaluated on the {table.evaluated_on}" if table.evaluated_on else "not evaluated yet"
    omitted = "" if config.without_class is None else f" without class {config.without_class}"
    return (
        f"{pair}: {config.training_images()} training images of {config.dataset}{omitted}, {config.epochs} epochs, "
        f"batches of {config.batch_size}, seeds {', '.join(map(str, seeds)) or 'none yet'} of {len(study.seeds)} "
        f"declared; {evaluated}{', last epoch' if seeds else ''}."
    )


def to_markdown(table: Table) -> str:
    """The protocol, the table, what it decides, what the columns mean, and the settings of each entry."""
    study, summaries = table.declared, summarize(table)
    lines, decided = format_study(table, summaries), describe_study(table, summaries)
    settings = "\n".join(f"- {one.name}: `{format_student(one)}`" for one in study.students.values())
    notes = [decided, NOTES, settings] if study.grid is None else [GRID_NOTES, decided]
    parts = [study.describe_factors(), measures.to_markdown(lines, 2), *notes]
    return "\n\n".join(filter(None, [describe_protocol(table), *parts])) + "\n"


def to_csv(tables: Mapping[str, Table]) -> str:
    """A line for each row, numbers with full precision, empty where unknown.

    The first column is the table's name, or the row's part, where there is any.
    """
    return measures.to_csv([
        ({"part": row.part or name} if row.part or name else {}) | {"entry": row.entry, "seed": row.seed} | row.measures
        for name, table in tables.items() for row in table.rows
    ])  # fmt: skip


def describe_study(table: Table, summaries: list[Summary]) -> str:
    """What the table decides, in sentences, with what limits the conclusion."""
    if not summaries:
        return "No seed is complete yet."
    is_grid, seeds = table.declared.grid is not None, min(len(one.rows) for one in summaries)
    count = "one seed" if seeds == 1 else f"{seeds} seeds"
    chosen = _describe_choice(table, summaries) if is_grid else []
    found = max((pair.detectable or 0 for one in summaries for pair in one.differences.values()), default=0)
    power = f"Dunnett's test finds {100 * found:.2f} points with a probability of {100 * difference.POWER:.0f} %."
    if seeds < ENOUGH_SEEDS:
        return " ".join([
            *chosen, f"With {count} it cannot be decided which {'setting' if is_grid else 'method'} is better: at "
            f"least {ENOUGH_SEEDS} are needed. The order may change with further seeds.", *([power] if found else []),
        ])  # fmt: skip
    best = max(summaries, key=lambda one: one.accuracy)
    if len(summaries) == 1:
        mean = f"a mean of {100 * best.accuracy:.2f} % over {count}"
        return f"{best.label} has {mean}; there is nothing to compare it with."
    return " ".join([
        *chosen,
        *(_describe_reference(summaries, reference, count) for reference in table.declared.references),
        *([power] if found else []),
        *([] if is_grid else [f"{best.label} has the highest mean, {100 * best.accuracy:.2f} %; as the best of "
                              f"{len(summaries)} entries it is probably overestimated."]),
        "This holds for this pair, these settings, this learning rate and this length.",
        difference.describe_assumption(seeds),
    ])  # fmt: skip


def count_differences(summaries: list[Summary], reference: str) -> str:
    """In a sentence how many entries differ clearly from a reference; empty where too few seeds decide nothing."""
    found = [one.differences[reference].sign for one in summaries if reference in one.differences]
    if not found or min(len(one.rows) for one in summaries) < ENOUGH_SEEDS:
        return ""
    label = _label_of(summaries, reference)
    above, below = found.count(1), found.count(-1)
    return (
        f"Above {label} by more than chance: {above} of {len(found)} entries; below it: {below}; undecided: "
        f"{len(found) - above - below}."
    )


def _label_of(summaries: list[Summary], name: str) -> str:
    return next((one.label for one in summaries if one.name == name), name)


def _describe_reference(summaries: list[Summary], reference: str, count: str) -> str:
    compared = [(one.label, one.differences[reference]) for one in summaries if reference in one.differences]
    compared.sort(key=lambda pair: -pair[1].estimate)
    label = _label_of(summaries, reference)
    if not compared:
        return f"{label} has no seed in common with the others yet, so nothing is compared with it."
    pooled = _list_signs([(f"{name} ({100 * one.estimate:+.2f})", one) for name, one in compared])
    beside = [(name, one.paired) for name, one in compared if one.paired is not None]
    same = all(one.paired.sign == one.sign for _, one in compared if one.paired is not None)
    equal = ", ".join(name for name, paired in beside if paired.is_within(MARGIN))
    within = f" Within {100 * MARGIN:g} points of it, by two one-sided paired tests: {equal}." if equal else ""
    return (
        f"Compared with {label}, {pooled} by more than chance after Dunnett's test with pooled variance "
        f"({len(compared)} comparisons over {count}); paired t tests with Holm's correction "
        f"{'agree' if same else f'say: {_list_signs(beside)}'}.{within}"
    )


def _list_signs(compared: list[tuple[str, Difference]]) -> str:
    parts = []
    for sign, phrase in ((1, "above"), (-1, "below")):
        named = [name for name, one in compared if one.sign == sign]
        if named:
            parts.append(f"{', '.join(named)} {'is' if len(named) == 1 else 'are'} {phrase} it")
    return " and ".join(parts) or "no entry differs"


def _describe_choice(table: Table, summaries: list[Summary]) -> list[str]:
    """A grid's best cell, the lab's default and the scratch baseline, in sentences, and what tests over images say."""
    best = find_best(summaries)
    if best is None:
        return []
    default = next((one for one in summaries if one.name == table.declared.references[0]), None)
    cells = [one for one in summaries if one.place]
    first = f"The best of {len(cells)} cells" if len(cells) > 1 else "The only cell"
    sentences = [f"{first} is {best.label}: {_describe_accuracy(best)}."]
    if best is default:
        sentences.append("That is the lab's default itself.")
    elif default is None or not best.differences:
        sentences.append("The lab's default has no seed in common with it yet, so nothing is tested.")
    else:
        sentences.append(f"The lab's default, {default.label}, has {_describe_accuracy(default)}.")
        sentences.append(_describe_images(best))
    sentences += [f"The scratch baseline has {_describe_accuracy(one)}." for one in summaries if not one.place]
    return [*sentences, *_describe_selection(table, best, default, len(cells) > 1)]


def _describe_images(best: Summary) -> str:
    one = best.over_images
    if one is None or one.p is None or one.p_alone is None:
        return "Images: the paired test needs the labels of the evaluated images, which are missing on this machine."
    by_seed = next(iter(best.differences.values())).values
    verdict = "more than chance on these images" if one.p < difference.LEVEL else "this could be chance"
    sign, word = (1, "ahead") if one.estimate > 0 else (-1, "behind")
    seeds = f"in {sum(sign * d > 0 for d in by_seed)} of {len(by_seed)} seeds"
    ahead = f"{word} by {100 * abs(one.estimate):.2f} points, {seeds}" if one.estimate else "equally accurate"
    corrected = f"after Holm's correction for {one.family} comparisons {format_p(one.p)}"
    tested = f"the paired test on the same images gives {format_p(one.p_alone)}, {corrected}"
    return f"Images: these trained networks are {ahead}; {tested}: {verdict}."


def _describe_selection(table: Table, best: Summary, default: Summary | None, selected: bool) -> list[str]:
    """What the choice of the best of several does to its estimate, and its fresh measurement where there is one."""
    study = table.declared
    where = "held-out images" if study.shared.holdout else "test images"
    inflated = [
        f"The best cell was selected on these {where}, so its accuracy and its lead are inflated; a correction changes "
        "p, not these estimates."
    ]
    chosen = table.values(best.name, "test_accuracy")
    if not chosen:
        command = f"python -m kdexplorer evaluate --after-choice {study.study_id}"
        fresh = f"`{command}` measures it once on the test split, with weights that no test image has influenced."
        other = "Choose with `--holdout` for an estimate without it: the test split is then left for the chosen cell."
        return [*inflated, fresh if study.shared.holdout else other] if selected else []
    mean = sum(chosen.values()) / len(chosen)
    text = f"Measured once after the choice, on the test split, it has {100 * mean:.2f} %"
    text += f" (mean of {len(chosen)} seeds)" if len(chosen) > 1 else ""
    known = table.values(default.name, "test_accuracy") if default is not None and default is not best else {}
    test = difference.compare_seeds({best.name: chosen}, known).get(best.name)
    compared = ""
    if test is not None and test.p is not None:
        compared = f"; to the default {100 * test.estimate:+.2f} points (paired by seed, 95 % {test.bounds()})"
    return [*(inflated if selected else []), f"{text}{compared}."]


def _describe_accuracy(one: Summary) -> str:
    text = f"{100 * one.accuracy:.2f} %"
    if one.interval is None:
        return text
    low, high = (100 * end for end in one.interval)
    return f"{text} (mean of {len(one.rows)} seeds, 95 % {low:.2f} – {high:.2f})"
