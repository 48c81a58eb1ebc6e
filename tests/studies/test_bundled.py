"""The bundled tables: their numbers, what they belong to, and the hashes under which they were declared."""

import hashlib
import json

import pytest

from kdexplorer.analysis.difference import t_interval
from kdexplorer.studies.driver import list_left
from kdexplorer.studies.experiments import all_experiments, read, table_path
from kdexplorer.studies.experiments.base import AGAIN, differences
from kdexplorer.studies.study import bundled_studies, read_study
from kdexplorer.studies.table import bundled_tables, find_conflicts, read_table

LEAGUE, EQUAL_TIME = "league-resnet8", "league-resnet8-equal-time"
LEAGUES = LEAGUE, "league-resnet8-controls", EQUAL_TIME
STUDIES = {
    table_path(experiment.key, name): study
    for experiment in all_experiments()
    for name, study in experiment.studies(False).items()
} | {bundled_studies() / f"{name}.json": read_study(bundled_studies() / f"{name}.toml") for name in LEAGUES}


def test_kd_is_ahead_of_the_slowest_method_in_its_time():
    tables = bundled_tables(with_grid=False)
    gained = differences(tables[EQUAL_TIME].values("kd"), tables[LEAGUE].values("reviewkd"))
    gains = [100 * gain for gain in gained.values()]
    assert sum(gains) / 5 == pytest.approx(3.648)
    assert t_interval(gains) == pytest.approx((3.013, 4.283), abs=5e-4)


def test_each_table_belongs_to_what_is_declared_and_nothing_else_is_there(bundled):
    weights = {name: checkpoint.sha256 for name, checkpoint in bundled.entries.items()}
    measured = {table_path(one.key) for one in all_experiments() if one.measure is not None}
    found = set((bundled_studies() / "experiments").rglob("*.json"))
    assert measured <= found <= measured | set(STUDIES)
    for path in found - measured:
        table = read_table(path)
        assert find_conflicts(table, STUDIES[path]) == [], path
        teacher = STUDIES[path].shared.teacher
        assert teacher not in weights or table.teacher == weights[teacher], path
    assert not any(read(one).left_out or list_left(one) for one in all_experiments())  # also without trained teachers


@pytest.mark.parametrize(
    "path",
    [one for one in STUDIES if not one.stem.endswith(("controls", "equal-time", AGAIN))],
    ids=lambda path: f"{path.parent.name}-{path.stem}",
)
def test_the_declaration_is_the_one_whose_hash_was_made_before_the_training(path):
    """What is declared says the same in the format before; only the name of a trained teacher contained a hash."""
    table = read_table(path)
    study = table.declared
    recipe, (architecture,) = dict(study.recipe), {one.architecture for one in study.students.values()}
    if recipe["teacher"] and recipe["teacher"].startswith("better-teacher-teachers-"):
        teachers = read_table(path.with_name("teachers.json"))
        recipe["teacher"] = recipe["teacher"].replace(teachers.sha256[:8], teachers.earlier_sha256[:8])
    before = {
        "version": 1, "student": architecture, "seeds": study.seeds, "references": study.references,
        "entries": {name: text.removeprefix(f"{architecture}:") for name, text in study.entries.items()},
        "settings": recipe,
    }  # fmt: skip
    assert hashlib.sha256(json.dumps(before, sort_keys=True).encode()).hexdigest() == table.earlier_sha256
