"""Rows of results whose figures are chosen."""

from kdexplorer.analysis.results import ResultRow


def make_row(name, **values):
    """A row of 100 images with an accuracy of a half."""
    known = {
        "architecture": "resnet8",
        "objective_key": "scratch",
        "method": "scratch",
        "objective": 1.0,
        "objective_terms": None,
        "terms": {},
        "cross_entropy": 1.0,
        "accuracy": 0.5,
        "accuracy_low": 0.4,
        "accuracy_high": 0.6,
        "images": 100,
        "evaluated_on": "100 test images",
        "parameters": 1000,
        "multiply_adds": 10**7,
        "latency": None,
        "size": None,
        "train_images": None,
        "epochs": 1,
        "seed": 0,
        "run": None,
        "seconds": None,
        "device": None,
    }
    return ResultRow(name=name, **known | values)
