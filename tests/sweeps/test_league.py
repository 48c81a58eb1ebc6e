"""A league from its declaration to its table, and what the table alone is good for."""

import contextlib
import json
import shutil

import pytest

from kdexplorer.cli import league as command
from kdexplorer.cli.main import main
from kdexplorer.errors import ConfigError, TrainingError
from kdexplorer.methods import all_methods
from kdexplorer.runs import launch
from kdexplorer.sweeps import league as leagues
from kdexplorer.sweeps.declaration import Declaration, bundled_declaration, read_declaration
from kdexplorer.sweeps.league_report import to_csv, to_markdown
from kdexplorer.sweeps.league_table import find_conflicts, read_table
from kdexplorer.training.train import execute

TEXT = """
version = 1
student = "resnet8"
seeds = [3, 5]
references = ["scratch", "plain-kd"]

[settings]
dataset = "synthetic"
teacher = "{teacher}"
epochs = 1
batch_size = 20
train_images = 60
precision = "float32"
device = "cpu"

[entries]
scratch = "scratch"
plain-kd = "kd:T=4:weight=0.7:ce_weight=0.3"
attention = "at:weight=1000"
"""


@pytest.fixture
def declared(tmp_path, teacher):
    path = tmp_path / "league.toml"
    path.write_text(TEXT.format(teacher=teacher.path))
    return path


@pytest.fixture
def started(monkeypatch):
    """Experiments run in this process and nothing is timed beforehand; the list says which seeds ran."""
    seeds = []

    def start(run):
        seeds.append(run.config().seed)
        with contextlib.suppress(TrainingError):
            execute(run)

    monkeypatch.setattr(launch, "start_run", start)
    monkeypatch.setattr(command, "_measure_seconds", lambda table, seed: 90.0)
    return seeds


def test_a_league_is_trained_seed_by_seed_and_continues_from_its_table_alone(
    tiny, declared, started, runs_root, capsys
):
    words = ["league", str(declared), "--yes"]
    assert main([*words, "--seeds", "1"]) == 0
    printed = capsys.readouterr()
    assert "1 experiment (seed 3) of 3 students each" in printed.err
    assert "1 min 30 s in total" in printed.err
    table = read_table(declared.with_suffix(".json"))
    assert table.complete_seeds() == {3}
    assert to_markdown(table) in printed.out
    assert declared.with_suffix(".md").read_text() == to_markdown(table)

    shutil.rmtree(runs_root)  # another machine
    assert main(words) == 0
    assert started == [3, 5]
    table = read_table(declared.with_suffix(".json"))
    assert table.complete_seeds() == {3, 5}
    assert [(row.seed, row.entry) for row in table.rows] == [
        (seed, entry) for seed in (3, 5) for entry in ("scratch", "plain-kd", "attention")
    ]
    assert all(row.step_seconds > 0 and row.teacher_agreement is None for row in table.rows)  # it has no logits
    assert all(one.batch_seconds > 0 and one.device for one in table.seeds)
    assert len(to_csv(table).splitlines()) == 1 + 6

    assert main(words) == 0
    assert started == [3, 5]


def test_a_finished_experiment_that_was_not_written_is_found_again(tiny, declared, started, monkeypatch):
    declaration = read_declaration(declared)
    league = leagues.open_league(declaration)
    league.plan([3])
    from kdexplorer.sweeps.driver import execute_sweep

    assert execute_sweep(league, write_results=lambda _: None) == "finished"  # killed in between
    assert not declared.with_suffix(".json").exists()
    assert main(["league", str(declared), "--yes", "--seeds", "1"]) == 0
    assert started == [3]
    assert read_table(declared.with_suffix(".json")).complete_seeds() == {3}


def test_what_is_stopped_continues(tiny, declared, started, monkeypatch):
    train = launch.start_run
    monkeypatch.setattr(launch, "start_run", lambda run: run.write_status("stopped"))
    assert main(["league", str(declared), "--yes", "--seeds", "1"]) == 130
    assert not declared.with_suffix(".json").exists()
    monkeypatch.setattr(launch, "start_run", train)
    assert main(["league", str(declared), "--yes", "--quiet", "--seeds", "1"]) == 0
    assert started == [3]


def test_the_rows_are_the_students_figures(tiny, declared, started, runs_root):
    from kdexplorer.analysis import metrics
    from kdexplorer.datasets import get_dataset
    from kdexplorer.runs.checkpoints import open_checkpoint

    assert main(["league", str(declared), "--yes", "--seeds", "1", "--quiet"]) == 0
    table = read_table(declared.with_suffix(".json"))
    labels = get_dataset("synthetic").load("test").labels
    for row in table.rows:
        logits = open_checkpoint(runs_root / table.seeds[0].run / row.entry).logits()
        assert row.accuracy == metrics.accuracy(logits, labels)
        assert row.calibration_error == metrics.expected_calibration_error(logits, labels)
        assert row.scaled_cross_entropy < row.cross_entropy + 0.2


def test_nothing_starts_without_a_yes(tiny, declared, started, capsys):
    assert main(["league", str(declared), "--estimate"]) == 0
    assert "3 min in total" in capsys.readouterr().err
    assert main(["league", str(declared)]) == 2
    assert "--yes" in capsys.readouterr().err
    assert started == []
    assert main(["league", str(declared), "--show"]) == 0
    assert not declared.with_suffix(".json").exists()


def test_a_table_of_another_declaration_is_refused(tiny, declared, started, capsys):
    assert main(["league", str(declared), "--yes", "--seeds", "1", "--quiet"]) == 0
    before = declared.with_suffix(".json").read_bytes()
    text = declared.read_text()
    declared.write_text("# a comment changes nothing\n" + text)
    assert main(["league", str(declared), "--yes", "--seeds", "1", "--quiet"]) == 0
    declared.write_text(text.replace("epochs = 1", "epochs = 2"))
    assert main(["league", str(declared), "--yes"]) == 2
    assert "settings" in capsys.readouterr().err
    assert declared.with_suffix(".json").read_bytes() == before
    assert started == [3]


def test_a_default_that_changed_and_an_altered_table_are_noticed(tiny, declared, started):
    assert main(["league", str(declared), "--yes", "--seeds", "1", "--quiet"]) == 0
    table, declaration = read_table(declared.with_suffix(".json")), read_declaration(declared)
    assert find_conflicts(table, declaration) == []
    other = table.entries[1].model_copy(update={"objective": table.entries[0].objective})
    changed = table.model_copy(update={"entries": [table.entries[0], other, table.entries[2]]})
    (sentence,) = find_conflicts(changed, declaration)
    assert "plain-kd" in sentence
    assert find_conflicts(table.model_copy(update={"declaration_sha256": "0"}), declaration)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("[3, 5]", "[3, 3]", "twice"),
        ('"plain-kd"]', '"other"]', "other is no entry"),
        ("epochs = 1", "seed = 1", "seed is no setting"),
        ("epochs = 1", "epoch = 1", "epoch"),
        ("at:weight", "nothing:weight", "unknown preset or method"),
        ("version = 1", "version = = 1", "cannot be read"),
    ],
)
def test_a_declaration_that_cannot_be_run_is_refused_with_the_reason(declared, old, new, message):
    declared.write_text(declared.read_text().replace(old, new))
    with pytest.raises(ConfigError, match=message):
        read_declaration(declared)


def test_a_file_that_is_no_table_is_not_overwritten(tiny, declared, started, capsys):
    declared.with_suffix(".json").write_text(json.dumps({"version": 1}))
    assert main(["league", str(declared), "--yes"]) == 2
    assert "is not the table of a league" in capsys.readouterr().err


def test_the_bundled_declaration_is_valid():
    declaration = read_declaration(bundled_declaration())
    assert len(declaration.seeds) == 5
    assert set(declaration.references) <= set(declaration.entries)
    used = {term.method for student in declaration.students() for term in student.terms}
    assert used == {method.key for method in all_methods() if method.key != "altered_kd"}
    assert Declaration.model_validate(json.loads(declaration.model_dump_json())).sha256 == declaration.sha256
