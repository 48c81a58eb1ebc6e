"""The bundled tables: their numbers, what they belong to, and the hashes under which they were declared."""

import hashlib
import json

import pytest

from kdexplorer.analysis.difference import holm, t_interval
from kdexplorer.files import write_json
from kdexplorer.studies.experiments import all_experiments
from kdexplorer.studies.experiments.base import AGAIN
from kdexplorer.studies.experiments.results import read, table_path
from kdexplorer.studies.study import bundled_studies, read_study
from kdexplorer.studies.table import bundled_tables, differences, find_conflicts, read_table, summarize

LEAGUES = LEAGUE, CONTROLS, EQUAL_TIME = "league-resnet8", "league-resnet8-controls", "league-resnet8-equal-time"
STUDIES = {
    table_path(experiment.key, name): study
    for experiment in all_experiments()
    for name, study in experiment.studies(False).items()
} | {bundled_studies() / f"{name}.json": read_study(bundled_studies() / f"{name}.toml") for name in LEAGUES}


def test_the_tests_over_images_of_a_table_without_bits_are_one_family():
    (table,) = bundled_tables(with_grid=True).values()
    tested = {one.name: one.over_images for one in summarize(table) if one.over_images is not None}
    assert {name: one.p_alone for name, one in tested.items()} == table.image_p
    assert [one.p for one in tested.values()] == holm([one.p_alone for one in tested.values()])


def test_kd_is_ahead_of_the_slowest_method_in_its_time():
    tables = bundled_tables(with_grid=False)
    assert next(iter(tables)) == LEAGUE  # which Compare shows first
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
    assert not any(read(experiment).left_out for experiment in all_experiments())


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


def test_tables_that_are_damaged_are_skipped(tmp_path, monkeypatch):
    table = bundled_tables(with_grid=True)["resnet56-resnet8"]
    monkeypatch.setenv("KDEXPLORER_CHECKPOINTS", str(tmp_path / "bundled"))
    (tmp_path / "studies").mkdir()
    write_json(tmp_path / "studies" / "good.json", table.model_dump(mode="json"))
    (tmp_path / "studies" / "bad.json").write_text("{")
    assert list(bundled_tables(with_grid=True)) == ["good"]
    assert bundled_tables(with_grid=False) == {}


def by_name(table):
    return {one.name: one for one in summarize(table)}


def test_the_leagues_numbers():
    found = by_name(bundled_tables(with_grid=False)[LEAGUE])
    best = max(found.values(), key=lambda one: one.accuracy)
    assert (len(found), best.name) == (15, "reviewkd")
    assert best.interval == t_interval(best.values())
    assert (best.accuracy, best.entry.memory) == (0.79428, 213234276)
    assert (best.own_step, best.whole_step) == (3.6105386303869813, 2.173507759932439)
    difference = found["kd"].differences["scratch"]
    assert difference.estimate == pytest.approx(0.05076)
    paired = difference.paired
    assert paired.interval == pytest.approx((0.042341096889264775, 0.0591789031107352))
    assert (paired.p_alone, paired.p) == pytest.approx((7.462228328469703e-05, 0.0005223559829928792))
    ahead = [name for name, one in found.items() if name != "kd" and one.differences["kd"].sign > 0]
    assert ahead == ["dist", "fitnets", "reviewkd", "sp"]
    assert [name for name in ahead if found[name].differences["kd"].paired.sign > 0] == ["fitnets", "reviewkd"]
    assert found["sp"].differences["kd"].p == pytest.approx(0.0242, abs=1e-4)
    assert found["sp"].differences["kd"].detectable == pytest.approx(0.0108, abs=1e-4)


def test_labels_alone_gain_two_thirds_of_what_kd_gains_with_a_larger_gradient():
    found = by_name(bundled_tables(with_grid=False)[CONTROLS])
    assert next(iter(bundled_tables(with_grid=False))) == LEAGUE  # which Compare shows first
    labels = ["DIST paper", "KD paper", "KD", "scratch 5.4", "AT paper", "scratch 2.7", "scratch"]
    assert [one.label for one in sorted(found.values(), key=lambda one: -one.accuracy)] == labels
    gains = {name: found[name].differences["scratch"] for name in ("kd", "scratch_5_4", "scratch_2_7")}
    assert [100 * one.estimate for one in gains.values()] == pytest.approx([4.944, 3.368, 2.678], abs=5e-4)
    left = found["scratch_5_4"].differences["kd"]
    assert (100 * left.estimate, left.p, left.paired.p) == pytest.approx((-1.576, 0.0025, 0.2198), abs=5e-4)
    assert 100 * left.interval[1] < -0.48
    assert not any(found[name].differences["kd"].sign for name in ("kd_paper", "dist_paper"))
