"""A teacher's accuracy on smaller images, on the first 500 of the bundled test images: a table.

python -m benchmarks.teacher_resolution [resnet56 resnet20-combined …]
"""

from __future__ import annotations

import argparse

from kdexplorer.analysis import metrics
from kdexplorer.analysis.inference import predict_batches
from kdexplorer.analysis.measures import to_markdown
from kdexplorer.datasets import get_dataset
from kdexplorer.runs.checkpoints import find_checkpoint
from kdexplorer.training.teacher import CHECKED_BATCH, CHECKED_IMAGES


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("teachers", nargs="*", default=["resnet56", "resnet20-combined"])
    split, rows = get_dataset("cifar10-small").load("test"), []
    images, labels = split.images[:CHECKED_IMAGES], split.labels[:CHECKED_IMAGES]
    for name in parser.parse_args().teachers:
        checkpoint = find_checkpoint(name)
        for side in (32, 24, 16):
            normalization = checkpoint.card.normalization
            logits = predict_batches(checkpoint.network(), images, normalization, CHECKED_BATCH, side=side)
            confidence = float(metrics.softmax(logits).max(axis=1).mean())
            accuracy = f"{100 * metrics.accuracy(logits, labels):.1f} %"
            row = {"Teacher": name, "Pixels": str(side), "Accuracy": accuracy, "Mean confidence": f"{confidence:.2f}"}
            rows.append(row)
    print(to_markdown(rows))


if __name__ == "__main__":
    main()
