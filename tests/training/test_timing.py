"""Seconds of the parts of a step."""

from kdexplorer.training.timing import median_seconds
from kdexplorer.training.trainer import Trainer


def test_the_median_of_the_spans():
    assert median_seconds([(1.0, 2.0), (3.0, 3.5), (4.0, 9.0)]) == 1
    assert median_seconds([]) is None


def test_the_parts_of_a_step_follow_one_another(paired):
    trainer = Trainer(paired)
    for step in range(2):
        trainer.step(0, step)
    first, second = (student.spans for student in trainer.students)
    for batch, one, other in zip(trainer.spans, first, second, strict=True):
        moments = [*batch, *one, *other]
        assert moments == sorted(moments)
    assert len(first) == len(second) == 2
