"""Who distilled whom: by the hash of the teacher's weights, and by the run for scratch baselines."""

import pytest

from kdexplorer.presets import PRESETS
from kdexplorer.runs import lineage
from tests.pages.runs import distilled


@pytest.fixture
def families(tmp_path, make_checkpoint):
    """Two teachers; a run of each with students of one architecture, and a scratch student with smoothed labels."""
    found = {
        name: make_checkpoint(tmp_path / name, seed=seed, run=name) for seed, name in enumerate(("large", "small"))
    }
    for teacher in ("large", "small"):
        students = {"smoothed": {"objective": {"label_smoothing": 0.1}}, "scratch": {}}
        for student, facts in (students | {"response": distilled(found[teacher])}).items():
            name = f"{teacher}-{student}"
            found[name] = make_checkpoint(tmp_path / name, seed=len(found), run=f"r-{teacher}", **facts)
    return found


def test_each_student_has_its_own_teacher_and_scratch_baseline(families):
    """And a teacher's students include the scratch baselines of their runs."""
    assert lineage.list_teachers(families) == ["large", "small"]
    teachers = lineage.name_relatives(families, lineage.teacher_of)
    assert teachers == {"large-response": "large", "small-response": "small"}
    baselines = lineage.name_relatives(families, lineage.scratch_baseline_of)
    assert baselines == {"large-response": "large-scratch", "small-response": "small-scratch"}
    assert lineage.students_of(families, families["small"]) == ["small-smoothed", "small-scratch", "small-response"]
    assert lineage.students_of(families, families["small-scratch"]) == []


def test_the_first_family_is_of_one_architecture_and_run_one_for_each_objective(families, tmp_path, make_checkpoint):
    small = families["small"]

    def add(name, preset, run="r-small", architecture="resnet8", **changes):
        facts = distilled(small) | {"objective": PRESETS[preset] | changes, "run": run}
        families[name] = make_checkpoint(tmp_path / name, architecture, len(families), **facts)

    add("both", "combined")
    add("feature", "feature")
    add("hotter", "response", ce_weight=0.5)  # the objective of small-response, with another weight
    add("elsewhere", "feature", run="r-other")
    add("larger", "feature", architecture="resnet20")
    assert lineage.first_family(families, small) == ["small-scratch", "small-response", "feature", "both"]
    assert lineage.first_family(families, families["small-scratch"]) == []
    del families["small-scratch"]
    assert lineage.first_family(families, small) == ["small-response", "feature", "both"]


def test_students_that_train_on_keep_their_scratch_baseline_and_others_get_none(tmp_path, make_checkpoint):
    def train_on(preset, initial, folder="", epochs=2):
        facts = {"run": "second", "initial": initial, "epochs": epochs, "objective": PRESETS[preset]}
        return make_checkpoint(tmp_path / folder / preset, **facts)

    baseline, student = train_on("scratch", "first/scratch"), train_on("response", "first/response")
    stranger, changed = train_on("feature", "other/feature"), train_on("combined", "first/scratch")
    imported = make_checkpoint(tmp_path / "alone"), make_checkpoint(tmp_path / "own", objective=PRESETS["response"])
    snapshot = train_on("scratch", "first/scratch", "earlier", epochs=1)
    found = [snapshot, baseline, student, stranger, changed, *imported]
    assert [lineage.scratch_baseline_of(one, found) for one in found] == [None, None, baseline, *[None] * 4]
