"""Experiments' tables: one that does not fit is left out and says why; what is measured besides is in the CSV."""

import csv
import io
from collections import Counter

import numpy as np
import pytest

from kdexplorer.cli.main import main
from kdexplorer.files import write_json
from kdexplorer.runs.checkpoints import bundled_checkpoints
from kdexplorer.studies.experiments import all_experiments, get_experiment
from kdexplorer.studies.experiments.results import describe_results, find_faults, read, table_path, to_csv, to_markdown
from kdexplorer.studies.study import Study
from kdexplorer.studies.table import Entry, bundled_tables, find_changed, read_table
from tests.studies.sample import first, make_measured, make_results


def test_fidelity_has_all_students_of_the_bundled_tables():
    for key in ("fidelity", "lab-claims"):
        table = read_table(table_path(key))
        assert find_changed(table) == []
        assert {one.name for one in bundled_checkpoints()} == {one.name for one in table.entries if one.sha256}
    found = Counter(row.part for row in read_table(table_path("fidelity")).rows)
    for with_grid, prefix in ((False, ""), (True, "sweep ")):
        for name, table in bundled_tables(with_grid).items():
            assert found[f"{prefix}{name}"] == len(table.rows), f"{name}: measure fidelity again"


@pytest.fixture
def own(monkeypatch, tmp_path):
    """An empty folder of bundled networks, and beside it of tables."""
    monkeypatch.setenv("KDEXPLORER_CHECKPOINTS", str(tmp_path / "bundled"))
    return tmp_path / "bundled"


def store(experiment, part, change=lambda values: None):
    """Writes a table of that part, changed before."""
    values = make_results(experiment, lambda part, entry: 0.7).tables[part].model_dump(mode="json")
    change(values)
    path = table_path(experiment.key, part)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, values)


def edit_declaration(values):
    values["study"]["recipe"]["epochs"] += 1


def rename_hash(values):
    edit_declaration(values)
    values["sha256"] = Study.model_validate(values["study"]).sha256


def change_default(values):
    values["entries"][1]["objective"]["terms"][0]["temperature"] = 3.0


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (edit_declaration, "declaration that is stored in the table was altered"),
        (rename_hash, "declaration was changed after the table was begun (recipe)"),
        (change_default, "a default has changed"),
        (lambda values: values.update(rows=3), "is not the table of a study"),
    ],
)
def test_a_table_of_another_declaration_is_left_out_with_the_reason(own, change, reason, capsys):
    experiment = get_experiment("few-labels")
    store(experiment, "many")
    store(experiment, "few", change)
    results = read(experiment)
    assert list(results.tables) == ["many"]
    assert "few" in results.left_out[0]
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
    table = make_measured([("bundled, teacher t", "resnet8-a", "kd", first(800), first(900))]).measured
    entries = [Entry(name=name, key="kd", sha256=sha256) for name, sha256 in networks.items()]
    path = table_path(experiment.key)
    path.parent.mkdir(parents=True)
    write_json(path, table.model_copy(update={"entries": entries}).model_dump(mode="json"))
    results = read(experiment)
    assert bool(results) == (not changed)
    assert len(results.left_out) == len(changed)
    assert all("fidelity: networks.json" in reason and "measured: resnet8-b." in reason for reason in results.left_out)


@pytest.mark.parametrize("experiment", all_experiments(), ids=lambda experiment: experiment.key)
def test_what_is_measured_besides_has_its_columns_in_the_csv(experiment):
    own = {*experiment.shares, *experiment.counts}
    if experiment.more is None:
        assert not own
        return
    logits = np.random.default_rng(0).normal(size=(2, 40, 10))
    found = experiment.more(logits[0], np.arange(40) % 10, logits[1])
    assert found.keys() == own
    results = make_results(experiment, lambda part, entry: 0.7, more=lambda part, entry: found)
    line = next(csv.DictReader(io.StringIO(to_csv(experiment, results))))
    assert {name: float(line[name]) for name in own} == found
    assert line["accuracy"] != ""
    table = next(iter(results.tables.values()))
    for name, value in ((experiment.shares[0], 1.5), (experiment.shares[0], None)):
        rows = [row.model_copy(update={"measures": row.measures | {name: value}}) for row in table.rows]
        if value is None:
            for row in rows[1:]:
                del row.measures[name]
        assert find_faults(experiment, table.model_copy(update={"rows": rows}), table.study)
