"""Tables and what they belong to: the bundled ones fit, and one that does not fit is left out and says why."""

import csv
import io
import re
from collections import Counter

import numpy as np
import pytest

from kdexplorer.cli.main import main
from kdexplorer.experiments import all_experiments, get_experiment
from kdexplorer.experiments.report import describe_results, read, to_csv, to_markdown
from kdexplorer.experiments.results import find_changed, measured_path, part_path, read_measured, tables_folder
from kdexplorer.files import write_json
from kdexplorer.runs.checkpoints import bundled_checkpoints
from kdexplorer.sweeps.declaration import Declaration
from kdexplorer.sweeps.league_table import bundled_leagues, find_conflicts, read_table
from kdexplorer.sweeps.results import bundled_sweeps
from tests.experiments.sample import first, make_measured, make_results


def test_each_bundled_table_belongs_to_what_is_declared():
    paths = {part_path(one.key, part.name): part for one in all_experiments() for part in one.parts()}
    measured = {measured_path(one.key) for one in all_experiments() if not one.parts()}
    bundled = set(tables_folder().rglob("*.json"))
    assert measured <= bundled <= measured | set(paths)
    weights = {one.name: one.sha256 for one in bundled_checkpoints()}
    for path in bundled - measured:
        table = read_table(path)
        assert find_conflicts(table, paths[path].declaration) == [], path
        teacher = paths[path].declaration.recipe.teacher
        assert teacher not in weights or table.teacher == weights[teacher], path
    assert not any(read(experiment).left_out for experiment in all_experiments())


def test_fidelity_has_all_students_of_the_bundled_tables():
    table = read_measured("fidelity")
    assert find_changed(table) == []
    assert {one.name for one in bundled_checkpoints()} == set(table.networks)
    found = Counter(row.part for row in table.rows)
    for name, league in bundled_leagues().items():
        assert found[name] == len(league.rows), f"{name}: measure fidelity again"
    for name, sweep in bundled_sweeps().items():
        assert found[f"sweep {name}"] == len(sweep.students), f"{name}: measure fidelity again"


@pytest.fixture
def own(monkeypatch, tmp_path):
    """An empty folder of bundled networks, and beside it of tables."""
    monkeypatch.setenv("KDEXPLORER_CHECKPOINTS", str(tmp_path / "bundled"))
    return tmp_path / "bundled"


def store(experiment, part, change=lambda values: None):
    """Writes a table of that part, changed before."""
    values = make_results(experiment, lambda part, entry: 0.7).tables[part].model_dump(mode="json")
    change(values)
    path = part_path(experiment.key, part)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, values)


def edit_declaration(values):
    values["declaration"]["settings"]["epochs"] += 1


def rename_hash(values):
    edit_declaration(values)
    values["declaration_sha256"] = Declaration.model_validate(values["declaration"]).sha256


def change_default(values):
    values["entries"][1]["objective"]["terms"][0]["temperature"] = 3.0


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (edit_declaration, "declaration that is stored in the table was altered"),
        (rename_hash, "declaration was changed after the table was begun (settings)"),
        (change_default, "a default has changed"),
        (lambda values: values.pop("entries"), "is not the table of a league"),
    ],
)
def test_a_table_of_another_declaration_is_left_out_with_the_reason(own, change, reason, capsys):
    experiment = get_experiment("few-labels")
    store(experiment, "many")
    store(experiment, "few", change)
    results = read(experiment)
    assert list(results.tables) == ["many"]
    assert "few.json" in results.left_out[0]
    assert reason in results.left_out[0]
    assert results.left_out[0] in to_markdown(experiment, results)
    assert results.left_out[0] in describe_results(experiment, results)
    assert main(["experiment"]) == 0
    assert results.left_out[0] in capsys.readouterr().out


@pytest.mark.parametrize("changed", [[], ["resnet8-b"]])
def test_measured_networks_that_have_other_weights_now_are_left_out(own, make_checkpoint, changed):
    experiment = get_experiment("fidelity")
    weights = {
        name: make_checkpoint(own / name, seed=seed).sha256 for seed, name in enumerate(("resnet8-a", "resnet8-b"))
    }
    networks = weights | dict.fromkeys(changed, "0" * 64) | {"resnet8-gone": "1" * 64}
    table = make_measured(experiment, [("bundled, teacher t", "resnet8-a", "kd", first(800), first(900))]).measured
    path = measured_path(experiment.key)
    path.parent.mkdir(parents=True)
    write_json(path, table.model_copy(update={"networks": networks}).model_dump(mode="json"))
    results = read(experiment)
    assert bool(results) == (not changed)
    assert ["fidelity.json" in reason and "measured: resnet8-b." in reason for reason in results.left_out] == [
        True for _ in changed
    ]


@pytest.mark.parametrize("experiment", all_experiments(), ids=lambda experiment: experiment.key)
def test_what_is_measured_besides_has_its_columns_in_the_csv(experiment):
    logits = np.random.default_rng(0).normal(size=(2, 40, 10))
    found = experiment.more(logits[0], np.arange(40) % 10, logits[1])
    assert {name: len(values) for name, values in found.items()} == {
        name: len(columns) for name, columns in experiment.columns.items()
    }
    if found:
        results = make_results(experiment, lambda part, entry: 0.7, more=lambda part, entry: found)
        line = next(csv.DictReader(io.StringIO(to_csv(experiment, results))))
        read_back = {name: [float(line[column]) for column in columns] for name, columns in experiment.columns.items()}
        assert read_back == found
        assert line["accuracy"] != ""


def test_the_bundled_csv_has_the_omitted_class():
    experiment = get_experiment("omitted-class")
    lines = list(csv.DictReader(io.StringIO(to_csv(experiment, read(experiment)))))
    assert all(line["accuracy_at_bias_0"] == line["accuracy"] for line in lines)
    assert all(line["images_of_the_class"] == "1000.0" for line in lines)
    evidence = experiment.judge(read(experiment)).evidence
    for entry in ("kd", "scratch"):
        recall, total = (
            {
                column.removeprefix(f"{measure}_at_bias_"): np.mean(
                    [float(line[column]) for line in lines if line["entry"] == entry]
                )
                for column in experiment.columns[measure]
            }
            for measure in ("recall", "accuracy")
        )
        best = max(total, key=total.__getitem__)
        words = re.search(
            rf"with {best} (?:added to the logit of cat )?the ([a-z ]+) recognizes (.*? instead)", evidence, re.I
        )
        assert words[1] == {"kd": "distilled student", "scratch": "student without a teacher"}[entry]
        assert words[2] == f"{100 * recall[best]:.1f} %, and {100 * total[best]:.1f} % of all images instead"
