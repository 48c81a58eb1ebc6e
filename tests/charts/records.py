"""Rows of results whose figures are chosen."""

from kdexplorer.analysis.results import ResultRow

UNKNOWN = ("latency", "size", "train_images", "run", "seconds", "device", "objective_terms")


def make_row(name, **values):
    """A row of 100 images with an accuracy of a half."""
    known = dict.fromkeys(UNKNOWN) | {
        "architecture": "resnet8", "objective_key": "scratch", "method": "scratch", "objective": 1.0, "terms": {},
        "cross_entropy": 1.0, "accuracy": 0.5, "accuracy_low": 0.4, "accuracy_high": 0.6, "images": 100,
        "evaluated_on": "100 test images", "parameters": 1000, "multiply_adds": 10**7, "epochs": 1, "seed": 0,
    }  # fmt: skip
    return ResultRow(name=name, **known | values)
