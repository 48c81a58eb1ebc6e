"""Every method has its place in the picture, and the fitted students cover modes or seek one."""

import numpy as np
import pytest

from kdexplorer.charts import methods
from kdexplorer.charts.methods import BLOCKS, taxonomy
from kdexplorer.methods import all_methods
from tests.charts.drawing import draw, rows_of, texts


def test_every_method_stands_where_it_connects_the_networks():
    spec = taxonomy("rkd")
    names = {row["name"]: row for row in rows_of(spec, "summary")}
    assert set(names) == {method.label for method in all_methods()}
    places = {"AT": "stages", "RKD": "embedding", "KD": "logits", "Tf-KD": "label"}
    assert {name: BLOCKS[names[name]["x"]] for name in places} == places
    assert {name for name, row in names.items() if row["chosen"]} == {"RKD"}
    places = [(row["x"], row["y"]) for row in names.values()]
    assert len(set(places)) == len(places)
    assert {"teacher", "student", *BLOCKS[1:]} <= set(texts(draw(spec)))


def test_forward_kl_covers_both_modes_and_reverse_kl_seeks_the_larger():
    def describe(density):
        mean = (methods.GRID * density).sum()
        return mean, np.sqrt(((methods.GRID - mean) ** 2 * density).sum())

    covering, seeking = (describe(methods.fitted_students()[position]) for position in (0, -1))
    teacher = describe(methods.teacher_density())
    assert covering == pytest.approx(teacher, abs=0.06)  # forward KL matches both moments
    assert seeking == pytest.approx((-1.8, 0.7), abs=0.06)
