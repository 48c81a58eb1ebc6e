"""A family of networks whose results are known by construction."""

from types import SimpleNamespace

import numpy as np
import pytest

from kdexplorer.analysis import metrics, results

KD_OBJECTIVE = {"ce_weight": 0.3, "terms": [{"method": "kd", "weight": 0.7, "temperature": 4.0}]}


@pytest.fixture
def family(tmp_path, make_checkpoint):
    """A teacher, a scratch baseline and a distilled student; the first 90, 60 and 72 of 120 images are right.

    `entries` and `logits` by name, the images' `labels`, and `rows(labels, **options)`, the networks' rows.
    """
    labels = np.arange(120) % 10

    def make(name, right, seed, **changes):
        noise = np.random.default_rng(seed).normal(0, 0.1, (120, 10))
        predicted = np.where(np.arange(120) < right, labels, (labels + 1) % 10)
        logits = (noise + 3 * np.eye(10)[predicted]).astype(np.float16).astype(np.float32)
        figures = {"test_accuracy": metrics.accuracy(logits, labels), "test_objective": 1.0}
        figures["test_cross_entropy"] = metrics.cross_entropy(logits, labels)
        return make_checkpoint(tmp_path / name, seed=seed, logits=logits, **figures | {"run": "r"} | changes)

    teacher, baseline = make("teacher", 90, 0, run="t"), make("plain", 60, 1)
    student = make(
        "student", 72, 2, objective=KD_OBJECTIVE, test_terms={"cross_entropy": 1.5, "kd": 2.0}, test_objective=1.85,
        teacher={"name": "teacher", "sha256": teacher.sha256},
    )  # fmt: skip
    entries = {one.name: one for one in (teacher, baseline, student)}
    logits = {name: one.logits() for name, one in entries.items()}

    def rows(labels=labels, **options):
        return results.build_rows(entries, logits, labels, **options)

    return SimpleNamespace(entries=entries, logits=logits, labels=labels, rows=rows)
