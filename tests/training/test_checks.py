"""Problems of a run are found before a run is created, each beside its field."""

import pytest

from kdexplorer.config import RunConfig
from kdexplorer.errors import ConfigError
from kdexplorer.training.checks import find_problems, require_startable

PLAIN = {"name": "s", "architecture": "resnet8"}
BASE = {
    "dataset": "synthetic",
    "train_images": 300,
    "batch_size": 64,
    "students": [PLAIN],
}
AT = {"method": "at", "weight": 1000.0}
DISTILLED = PLAIN | {"terms": [AT]}
COLD = PLAIN | {"terms": [{"method": "kd", "temperature": 0}]}
UNKNOWN = PLAIN | {"terms": [{"method": "telepathy"}]}


@pytest.mark.parametrize(
    ("changes", "field", "words"),
    [
        ({"epochs": 0}, "epochs", "greater than or equal to 1"),
        ({"epochs": None}, "epochs", "integer"),
        ({"learning_rate": float("nan")}, "learning_rate", "finite"),
        ({"batch_size": 400}, "batch_size", "larger than the training set"),
        ({"train_images": 20_000, "batch_size": 64}, "train_images", "only 10000"),
        ({"train_images": None, "holdout": 9_960}, "batch_size", "only 40"),
        ({"holdout": 9_990}, "holdout", "only 10000"),
        ({"flip": "upside"}, "flip", "alternating"),
        ({"epoch": 3}, "epoch", "is not a setting"),
        ({"version": 3}, "version", "2"),
        ({"name": "../x"}, "name", "letters"),
        ({"name": "a..b"}, "name", "two dots"),
        ({"students": []}, "students", "at least 1"),
        ({"students": [PLAIN] * 65}, "students", "at most 64"),
        ({"students": [DISTILLED]}, "teacher", "no teacher is given"),
        ({"students": [COLD]}, "students", "s: KD temperature should"),
        ({"students": [UNKNOWN]}, "students", "s: unknown method 'telepathy'"),
        ({"teacher": "nobody"}, "teacher", "no network 'nobody'"),
        ({"dataset": "cifar10"}, "dataset", "not available yet"),
        ({"students": [PLAIN, PLAIN | {"name": "S"}]}, "students", "two students"),
    ],
)
def test_each_problem_is_reported_beside_its_field(changes, field, words, monkeypatch, tmp_path):
    monkeypatch.setenv("KDEXPLORER_DATA", str(tmp_path))
    config, problems = find_problems(BASE | changes)
    assert config is None
    assert words in " ".join(problems[field])
    assert "pydantic" not in str(problems)


def test_a_teacher_must_fit_the_data_and_the_students(tmp_path, make_checkpoint):
    teacher = make_checkpoint(tmp_path / "t")
    assert find_problems({**BASE, "teacher": "t", "students": [DISTILLED]}, teacher)[0]
    assert "no student uses it" in find_problems({**BASE, "teacher": "t"}, teacher)[1]["teacher"][0]
    fourth = {**DISTILLED, "terms": [{"method": "fitnets", "stage": 4}]}
    problems = find_problems({**BASE, "teacher": "t", "students": [fourth]}, teacher)[1]
    assert "no stage 4" in problems["students"][0]
    unrelated = make_checkpoint(tmp_path / "u", classes=tuple("abcdefghij"))
    problems = find_problems({**BASE, "teacher": "u", "students": [DISTILLED]}, unrelated)[1]
    assert "other classes" in problems["teacher"][0]


def test_several_teachers_are_found_one_by_one_and_only_for_logits(tiny, tmp_path, make_checkpoint):
    first, second = (make_checkpoint(tmp_path / name, seed=seed) for seed, name in enumerate("ab"))
    values = BASE | {"teacher": f"{first.path}+{second.path}", "train_images": 100, "batch_size": 20}
    kd, at = ({**DISTILLED, "terms": [{"method": method}]} for method in ("kd", "at"))
    require_startable(RunConfig.model_validate(values | {"students": [kd]}))
    with pytest.raises(ConfigError, match=r"several teachers are averaged .* AT uses stages"):
        require_startable(RunConfig.model_validate(values | {"students": [at]}))
