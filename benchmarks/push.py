"""The size of the gradient that the temperature gives a student, from stored logits: a table.

    python -m benchmarks.push [--teacher resnet56] [--students resnet20-scratch …]

Columns are temperatures, rows the mean over the test images of the L1 norm of the gradient of T²·KL on the student's
logits; the first row is an untrained student, whose logits are taken as zero. Then, at T = 4: on which share of the
images KL is larger than at T = 1, and in which share of all entries the hard label and the teacher push in opposite
directions.
"""

from __future__ import annotations

import argparse

import numpy as np

from kdexplorer.analysis.measures import to_markdown
from kdexplorer.analysis.metrics import gradient_on_logits, kl_by_image, push_size
from kdexplorer.analysis.results import evaluation_labels
from kdexplorer.runs.checkpoints import find_checkpoint

TEMPERATURES = (1.0, 2.0, 4.0, 8.0, 16.0, 100.0)


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--teacher", default="resnet56")
    parser.add_argument("--students", nargs="+", default=["resnet20-scratch", "resnet20-response", "resnet20-combined"])
    options = parser.parse_args()
    checkpoint = find_checkpoint(options.teacher)
    teacher, labels = checkpoint.logits(), evaluation_labels(checkpoint)
    assert labels is not None, "the labels of the test split are in the package"
    rows = []
    logits = {"untrained": np.zeros_like(teacher)} | {name: find_checkpoint(name).logits() for name in options.students}
    for name, student in logits.items():
        sizes = {f"T = {t:g}": f"{push_size(student, teacher, t).mean():.2f}" for t in TEMPERATURES}
        larger = (kl_by_image(teacher, student, 4.0) > kl_by_image(teacher, student, 1.0)).mean()
        parts = [gradient_on_logits(s, t, int(y), 4.0, 0.7) for s, t, y in zip(student, teacher, labels, strict=True)]
        opposite = np.mean([(part["teacher"] * part["label"] < 0).mean() for part in parts])
        shares = {"KL larger at T = 4": f"{larger:.0%}", "Opposite pushes at T = 4": f"{opposite:.0%}"}
        rows.append({"Student": name} | sizes | shares)
    print(to_markdown(rows))


if __name__ == "__main__":
    main()
