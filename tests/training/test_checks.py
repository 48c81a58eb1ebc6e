"""Problems of a run are found before a run is created, each beside its field."""

import pytest

from kdexplorer.config import RunConfig
from kdexplorer.datasets import get_dataset
from kdexplorer.errors import ConfigError
from kdexplorer.training.checks import find_problems, require_startable

PLAIN = {"name": "s", "architecture": "resnet8"}
BASE = {"dataset": "synthetic", "train_images": 300, "batch_size": 64, "students": [PLAIN]}
DISTILLED = PLAIN | {"terms": [{"method": "at"}]}
COLD = PLAIN | {"terms": [{"method": "kd", "temperature": 0}]}
UNTAUGHT = PLAIN | {"ce_weight": 0, "terms": [{"method": "tf_kd"}]}
CONTRAST = PLAIN | {"ce_weight": 0, "terms": [{"method": "crd"}]}
TAUGHT = {"students": [DISTILLED], "teacher": "t"}
UNKNOWN = PLAIN | {"terms": [{"method": "telepathy"}]}


@pytest.mark.parametrize(
    ("changes", "field", "words"),
    [
        ({"batch_size": 400}, "batch_size", "larger than the training set"),
        ({"train_images": 20_000, "batch_size": 64}, "train_images", "only 10000"),
        ({"train_images": None, "holdout": 9_960}, "batch_size", "only 40"),
        ({"holdout": 9_990}, "holdout", "only 10000"),
        ({"epoch": 3}, "epoch", "is not a setting"),
        ({"name": "../x"}, "name", "letters"),
        ({"students": [DISTILLED]}, "teacher", "no teacher is given"),
        ({"students": [COLD]}, "students", "s: KD temperature should"),
        ({"students": [UNKNOWN]}, "students", "s: unknown method 'telepathy'"),
        ({"teacher": "nobody"}, "teacher", "no network 'nobody'"),
        ({"dataset": "cifar10"}, "dataset", "not available yet"),
        ({"students": [PLAIN, PLAIN | {"name": "S"}]}, "students", "two students"),
        ({"students": [PLAIN | {"ce_weight": 0}]}, "students", "s: the objective has no term"),
        (TAUGHT | {"mixup": True}, "students", "the ce_weight of s"),
        (TAUGHT | {"students": [UNTAUGHT], "mixup": True}, "students", "the ce_weight of s"),
        (TAUGHT | {"students": [CONTRAST], "mixup": True}, "students", "s has CRD"),
        (TAUGHT | {"teacher_view": "fixed"}, "students", "more than logits"),
        (TAUGHT | {"teacher_view": "fixed", "mixup": True}, "students", "another teacher_view"),
        ({"students": [PLAIN | {"initial": "a:b"}]}, "students", "has a colon"),
        ({"without_class": 10}, "without_class", "only 10 classes"),
    ],
)
def test_each_problem_is_reported_beside_its_field(changes, field, words):
    config, problems = find_problems(BASE | changes)
    assert config is None
    assert words in " ".join(problems[field])
    assert "pydantic" not in str(problems)


def test_a_teacher_must_fit_the_data_and_the_students(tmp_path, make_checkpoint, monkeypatch):
    teacher = make_checkpoint(tmp_path / "t")
    unrelated = make_checkpoint(tmp_path / "u", classes=tuple("abcdefghij"))
    fourth = PLAIN | {"terms": [{"method": "fitnets", "stage": 4}]}
    assert find_problems(BASE | {"teacher": "t", "students": [DISTILLED]}, teacher)[0]
    for student, given, field, words in (
        (PLAIN, teacher, "teacher", "no student uses it"),
        (fourth, teacher, "students", "no stage 4"),
        (DISTILLED, unrelated, "teacher", "other classes"),
    ):
        config, problems = find_problems(BASE | {"teacher": given.name, "students": [student]}, given)
        assert config is None
        assert words in problems[field][0]
    monkeypatch.setattr(get_dataset("synthetic"), "classes", ("a", "b"))
    values = BASE | {"teacher": "v", "students": [PLAIN | {"terms": [{"method": "logit_std"}]}]}
    _, problems = find_problems(values, make_checkpoint(tmp_path / "v", classes=("a", "b")))
    assert "with 2 classes" in problems["students"][0]


def test_several_teachers_are_for_logits_only(tmp_path, make_checkpoint):
    teacher = "+".join(str(make_checkpoint(tmp_path / name, seed=seed).path) for seed, name in enumerate("ab"))
    with pytest.raises(ConfigError, match=r"several teachers are averaged .* AT uses stages"):
        require_startable(RunConfig(**BASE | {"teacher": teacher, "students": [DISTILLED]}))
