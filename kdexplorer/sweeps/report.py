"""What a sweep's results say, in sentences and as a table.

Two questions have two units. Images: do these trained networks differ on new images? Seeds: is one setting better than
another? The verdict on settings uses seeds.
"""

from __future__ import annotations

from kdexplorer.analysis.statistics import ENOUGH_SEEDS, SeedTest, format_p, format_p_cell, seed_test
from kdexplorer.analysis.tables import markdown_table
from kdexplorer.sweeps.grid import describe_factors
from kdexplorer.sweeps.results import SweepCell, SweepResults


def summarize(results: SweepResults) -> str:
    """Whether the best cell's setting is better than the default, in sentences, with what limits the conclusion."""
    best, default, scratch = results.cell_at(results.best), results.cell_at(results.default), results.scratch
    if best is None:
        return "No student has finished yet."
    count = len(results.cells)
    first = f"The best of {count} cells" if count > 1 else "The only cell"
    sentences = [f"{first} is {_describe_point(best)}: {_describe_accuracy(best)}."]
    if best is default:
        sentences.append("That is the lab's default itself.")
    elif default is None:
        sentences.append("The lab's default has not finished yet, so nothing is tested.")
    else:
        sentences.append(f"The lab's default, {_describe_point(default)}, has {_describe_accuracy(default)}.")
        sentences += [_describe_images(best, results), _describe_seeds(best, results)]
    if scratch is not None:
        sentences.append(f"The scratch baseline has {_describe_accuracy(scratch)}.")
    deviation = results.seed_deviation()
    if deviation is not None:
        sentences.append(f"Seeds of one cell have a standard deviation of {100 * deviation:.2f} points, pooled.")
    if count > 1:
        sentences.append(_describe_selection(results))
    return " ".join(sentences)


def _describe_images(best: SweepCell, results: SweepResults) -> str:
    if best.p is None or best.p_holm is None or best.difference is None or best.differences is None:
        return "Images: the paired test needs the labels of the evaluated images, which are missing on this machine."
    comparisons = sum(cell.p is not None for cell in results.all_cells())
    verdict = "more than chance on these images" if best.p_holm < 0.05 else "this could be chance"
    ahead = f"ahead by {100 * best.difference:.2f} points, in {best.ahead} of {len(best.differences)} seeds"
    tested = f"the paired test on the same images gives {format_p(best.p)}, {_describe_holm(comparisons, best.p_holm)}"
    return f"Images: these trained networks are {ahead}; {tested}: {verdict}."


def _describe_holm(comparisons: int, p: float) -> str:
    return f"after Holm's correction for {comparisons} comparisons {format_p(p)}"


def _describe_seeds(best: SweepCell, results: SweepResults) -> str:
    tests = results.seed_tests()
    test = tests.get(best.point)
    if test is None:
        unknown = "one seed does not show how much seeds vary" if best.seeds == 1 else "no seed is shared"
        return f"Seeds: {unknown}, so it cannot be decided whether the setting is better."
    holm = _describe_holm(len(tests), test.p_holm)
    return f"Seeds: {_describe_test(test)}, {holm}: {_judge(test, test.p_holm)}."


def _describe_test(test: SeedTest) -> str:
    interval = f"95 % {100 * test.low:+.2f} to {100 * test.high:+.2f}"
    return f"{100 * test.difference:+.2f} points ({interval}, {test.seeds} seeds), paired t test {format_p(test.p)}"


def _judge(test: SeedTest, p: float) -> str:
    """The verdict on two settings."""
    if test.seeds < ENOUGH_SEEDS:
        return f"with fewer than {ENOUGH_SEEDS} seeds it cannot be decided whether the setting is better"
    if p >= 0.05:
        return "the setting cannot be distinguished from the default"
    return f"the setting is {'better' if test.difference > 0 else 'worse'} than the default"


def _describe_selection(results: SweepResults) -> str:
    """What the choice of the best does to its estimate, and its fresh measurement where there is one."""
    where = "held-out images" if results.is_held_out else "test images"
    inflated = (
        f"The best cell was selected on these {where}, so its accuracy and its lead are inflated; Holm's correction "
        "changes p, not these estimates."
    )
    chosen, default = (results.measured_after_choice(point) for point in (results.best, results.default))
    if not chosen:
        command = f"python -m kdexplorer evaluate --after-choice {results.sweep or 'SWEEP'}"
        fresh = f"`{command}` measures it once on the test split, with weights that no test image has influenced."
        other = "Choose with `--holdout` for an estimate without it: the test split is then left for the chosen cell."
        return f"{inflated} {fresh if results.is_held_out else other}"
    mean = sum(chosen.values()) / len(chosen)
    text = f"Measured once after the choice, on the test split, it has {100 * mean:.2f} % (mean of {len(chosen)} seeds)"
    shared = [chosen[seed] - default[seed] for seed in chosen if seed in default]
    test = seed_test(shared) if results.best != results.default else None
    compared = f"; to the default {_describe_test(test)}: {_judge(test, test.p)}" if test else ""
    return f"{inflated} {text}{compared}."


def _describe_point(cell: SweepCell) -> str:
    return f"T = {cell.temperature:g} with weight {cell.weight:g}"


def _describe_accuracy(cell: SweepCell) -> str:
    text = f"{100 * cell.accuracy:.2f} %"
    if cell.accuracy_low is None or cell.accuracy_high is None:
        return text
    return f"{text} (mean of {cell.seeds} seeds, 95 % {100 * cell.accuracy_low:.2f} – {100 * cell.accuracy_high:.2f})"


_MEASURES = {
    "Cross-entropy": ("cross_entropy", ".3f", 1),
    "… scaled": ("scaled_cross_entropy", ".3f", 1),
    "Calibration error %": ("calibration_error", ".2f", 100),
    "… scaled %": ("scaled_calibration_error", ".2f", 100),
    "Agreement with teacher %": ("teacher_agreement", ".2f", 100),
    "To default": ("difference", "+.2f", 100),
}
"""Columns by heading: a cell's attribute, its format, its factor."""


def to_markdown(results: SweepResults) -> str:
    """The cells as a Markdown table, numbers rounded for reading, and the summary below it."""
    cells, tests = results.all_cells(), results.seed_tests()
    known = {name: one for name, one in _MEASURES.items() if any(getattr(c, one[0]) is not None for c in cells)}
    headings = ["T", "Weight", "Seeds", "Accuracy % (lowest – highest)", *known]
    headings += ["Images: p", "Images: Holm p", "Seeds: 95 % interval", "Seeds: p", "Seeds: Holm p"]
    rows = []
    for cell in cells:
        low, high = 100 * min(cell.accuracy_values), 100 * max(cell.accuracy_values)
        accuracy = f"{100 * cell.accuracy:.2f} ({low:.2f} – {high:.2f})"
        place = ["" if cell.temperature is None else f"{cell.temperature:g}", f"{cell.weight:g}", str(cell.seeds)]
        values = [(getattr(cell, name), form, factor) for name, form, factor in known.values()]
        texts = ["" if value is None else format(factor * value, form) for value, form, factor in values]
        test = tests.get(cell.point)
        interval = f"{100 * test.low:+.2f} to {100 * test.high:+.2f}" if test else ""
        over_seeds = [interval, *(map(format_p_cell, (test.p, test.p_holm)) if test else ("", ""))]
        rows.append([*place, accuracy, *texts, format_p_cell(cell.p), format_p_cell(cell.p_holm), *over_seeds])
    images = f"evaluated on the {results.evaluated_on}" if results.evaluated_on else "not evaluated yet"
    title = f"{results.student} distilled from {results.teacher}, {images}."
    units = (
        "Images: the exact paired test of these trained networks on the same images. Seeds: the paired t test of the "
        "settings. Both against the lab's default."
    )
    held, table = describe_factors(results.weight_factors), markdown_table(headings, rows, text_columns=0)
    return "\n\n".join(filter(None, [title, held, table, units, summarize(results)])) + "\n"
