"""Whatever stands in a JSON file that the application reads: no page fails, and nothing of it is read as Markdown.

The default run takes a sample; `-m reliability` takes all mutations.
"""

import contextlib
import itertools
import json
import os
import shutil

import numpy as np
import pytest

from kdexplorer.app.parts.layout import TITLES as PAGES
from kdexplorer.errors import CheckpointError, ConfigError, KDError
from kdexplorer.files import write_json
from kdexplorer.runs.checkpoints import open_checkpoint
from kdexplorer.runs.records import BatchMetrics, TeacherFigures
from kdexplorer.runs.run_folder import Run
from kdexplorer.studies.experiments import get_experiment
from kdexplorer.studies.experiments.results import table_path
from kdexplorer.studies.folder import StudyConfig, StudyFolder, left_to_train, open_experiment, open_study, prepare
from kdexplorer.studies.study import make_grid_study
from kdexplorer.studies.table import read_table, write_table
from kdexplorer.vote.store import Store, open_store
from tests.pages.mutations import check_plain, find_culprits, mutations
from tests.pages.runs import make_run
from tests.studies.sample import make_grid, make_table
from tests.studies.test_verdicts import known
from tests.vote.conftest import ask

SECTIONS = (
    "Accuracy and cost", "Learning curves", "Calibration", "Classes", "Confusion", "Disagreements",
    "Error inheritance", "The lab's claims", "Sweep", "League",
)  # fmt: skip
EVERY = [pytest.param(431, id="sample"), pytest.param(1, id="all", marks=pytest.mark.reliability)]
"""Which of the mutations: every so many."""


@pytest.fixture
def look(open_page):
    """Opens a page and checks what it shows."""

    def look(name, **query):
        at = open_page(name, **query)
        check_plain(at)
        return at

    return look


@pytest.fixture
def new_place(tmp_path, monkeypatch):
    """A fresh folder for runs or networks, so that nothing of the one before is cached."""
    numbers = itertools.count()

    def new_place(variable):
        place = tmp_path / f"place-{next(numbers)}"
        place.mkdir()
        monkeypatch.setenv(variable, str(place))
        return place

    return new_place


@pytest.fixture
def check(reliability):
    """`check(chosen, look_at, size)`: `look_at(group)` fails on no group of so many mutations; they are counted."""

    def check(chosen, look_at, size=8):
        groups = [chosen[begin : begin + size] for begin in range(0, len(chosen), size)]
        culprits = [culprit for group in groups for culprit in find_culprits(group, look_at)]
        assert not culprits, "\n".join(culprits)
        reliability["JSON files mutated; every page opened"] += len(chosen)

    return check


def choose(documents, every):
    """Every so many of the mutations of documents, by name."""
    return [one for name, document in documents.items() for one in mutations(name, document)][::every]


# --- Cards ------------------------------------------------------------------------------------------------


@pytest.fixture
def full_card(evaluated):
    """A card in which every field is set."""
    path = evaluated / "small-response" / "card.json"
    card = json.loads(path.read_text())
    environment = {"epoch": 0, "step": 0, "threads": 1, "processes": 1, "device": "cpu", "precision": "float32"}
    history = [
        {"epoch": n, "train": {"kd": 1.0, "accuracy": 0.3}, "test": {"kd": 1.0, "accuracy": 0.4}} for n in (0, 1)
    ]
    card["legs"] = [
        {
            "run": "r", "initial": "r/small-scratch", "epochs": 2, "seed": 1, "recipe": {"batch_size": 20},
            "seconds": 3.0, "device": "a processor", "precision": "float32", "students": 2,
            "versions": {"torch": "2"}, "environments": [environment | {"torch": "2"}], "history": history,
        }
    ]  # fmt: skip
    write_json(path, card)
    return card


@pytest.mark.parametrize("every", EVERY)
def test_no_card_breaks_a_page(evaluated, full_card, every, new_place, look, check):
    chosen, scratch = mutations("card.json", full_card)[::every], evaluated.parent / "scratch"
    usable = []
    for mutation in chosen:
        shutil.rmtree(scratch, ignore_errors=True)
        scratch.mkdir()
        (scratch / "card.json").write_text(json.dumps(mutation.apply(full_card)))
        with contextlib.suppress(CheckpointError):
            open_checkpoint(scratch)
            usable.append(mutation)
    refused = [mutation for mutation in chosen if mutation not in usable]

    def place(group):
        root = new_place("KDEXPLORER_CHECKPOINTS")
        shutil.copytree(evaluated, root, dirs_exist_ok=True)
        for number, mutation in enumerate(group):
            shutil.copytree(evaluated / "small-response", root / f"m{number}", copy_function=os.link)
            (root / f"m{number}" / "card.json").unlink()
            (root / f"m{number}" / "card.json").write_text(json.dumps(mutation.apply(full_card)))
        return [f"m{number}" for number in range(len(group))]

    def look_at_usable(group):
        names = place(group)
        look(None)
        look("soft_labels", teacher="teacher", students=",".join(names))
        look("attention", teacher=names[0], students=",".join(["small-scratch", *names[1:]]))
        look("live", teacher="teacher", students=",".join(names))
        look("methods", teacher="teacher", students=",".join(names))
        for name in names:
            look("soft_labels", teacher=name)
        for section in SECTIONS if every == 1 else SECTIONS[:2]:
            look("compare", networks=",".join([*names, "small-scratch"]), teacher="teacher", show=section)

        for page in PAGES:
            look(page)

    def look_at_refused(group):
        place(group)
        at = look("compare")
        assert any(f"{len(group)} unusable" in one.label for one in at.expander)
        look("launch")

    check(usable, look_at_usable, 4)
    check(refused, look_at_refused, 40)


# --- Runs -------------------------------------------------------------------------------------------------

RUN_FILES = ("config.json", "status.json", "teacher.json", "metrics.jsonl", "batches.jsonl")


@pytest.fixture
def run(evaluated, make_checkpoint):
    """A finished run with everything that a run leaves."""
    run = make_run("stopped", students=("scratch", "kd"), teacher="teacher", message="stopped", warning="careful",
                   epoch=1, epochs=2, step=1, steps_per_epoch=4, images_per_second=9.0, seconds_left=3.0)  # fmt: skip
    config = json.loads((run.path / "config.json").read_text())
    config["students"][1]["terms"] = [{"method": "kd", "weight": 0.7, "temperature": 4.0}]
    write_json(run.path / "config.json", config)
    probes = np.zeros((20, 10)).tolist()
    figures = TeacherFigures(name="teacher", accuracy=0.9, cross_entropy=0.3, probes=probes, probe_labels=[0, 9])
    write_json(run.path / "teacher.json", figures.model_dump())
    run.append_batch_metrics([BatchMetrics(epoch=0.5, student="s-scratch", train={"accuracy": 0.5, "objective": 1.0})])
    make_checkpoint(run.path / "s-kd", run=run.run_id, objective={"terms": [{"method": "kd"}]})
    return run


def read_first(path):
    """The file's document; of a file of lines the first."""
    text = path.read_text()
    return json.loads(text.splitlines()[0] if path.suffix == ".jsonl" else text)


@pytest.mark.parametrize("every", EVERY)
def test_no_file_of_a_run_breaks_a_page(run, every, new_place, look, check):
    documents = {name: read_first(run.path / name) for name in RUN_FILES}
    chosen = choose(documents, every)

    def look_at(group):
        root = new_place("KDEXPLORER_RUNS")
        for number, mutation in enumerate(group):
            copied = Run(shutil.copytree(run.path, root / f"20260101-00000{number}-m-0000"))
            text = json.dumps(mutation.apply(documents[mutation.file])) + "\n"
            path = copied.path / mutation.file
            path.write_text(text + path.read_text() if path.suffix == ".jsonl" else text)
            look("launch", run=copied.run_id)
        look("compare", networks=",", runs=",".join(one.name for one in root.iterdir()), show="Learning curves")
        for page in PAGES:
            look(page)

    def is_broken(mutation):
        """Such runs are all shown alike: as damaged."""
        path = run.path.with_name("broken")
        path.mkdir(exist_ok=True)
        (path / "config.json").write_text(json.dumps(mutation.apply(documents["config.json"])))
        try:
            Run(path).config()
        except KDError:
            return True
        finally:
            shutil.rmtree(path)
        return False

    def look_at_broken(group):
        root = new_place("KDEXPLORER_RUNS")
        for number, mutation in enumerate(group):
            copied = Run(shutil.copytree(run.path, root / f"20260101-0000{number:02}-m-0000"))
            (copied.path / "config.json").write_text(json.dumps(mutation.apply(documents["config.json"])))
            assert copied.status().state == "damaged"
        for page, query in (("launch", {}), ("launch", {"run": copied.run_id}), ("compare", {"runs": copied.run_id})):
            look(page, **query)

    broken = [one for one in chosen if one.file == "config.json" and is_broken(one)]
    others = [one for one in chosen if one not in broken]
    check(others, look_at)
    check(broken, look_at_broken, 20)


# --- Sweeps -----------------------------------------------------------------------------------------------

STUDY_FILES = ("config.json", "status.json", "table.json")


@pytest.fixture
def sweep(evaluated):
    """A study of a grid with results."""
    recipe = {"dataset": "synthetic", "teacher": "teacher", "epochs": 1, "batch_size": 20, "train_images": 60}
    study = make_grid_study("resnet8", recipe, 3, temperatures=[1.0, 2.0], weights=[0.7])
    folder = open_study(StudyConfig(study=study))
    left = left_to_train(folder.config())
    prepare(folder, left)
    write_table(make_grid((0.5, 0.6, 0.9, 0.6))[0], folder.path / "table.json")
    facts = {"runs": 3, "finished": 1, "working": (left[1].run,), "failed": {left[2].run: "why"}}
    folder.write_status("stopped", "stopped", **facts)
    return folder


@pytest.mark.parametrize("every", EVERY)
def test_no_file_of_a_sweep_breaks_a_page(sweep, every, new_place, look, check):
    documents = {name: read_first(sweep.path / name) for name in STUDY_FILES}
    chosen = choose(documents, every)

    def place(group):
        root = new_place("KDEXPLORER_RUNS")
        for number, mutation in enumerate(group):
            target = root / "studies" / (sweep.run_id if len(group) == 1 else f"{sweep.run_id}-m{number}")
            copied = StudyFolder(shutil.copytree(sweep.path, target))
            (copied.path / mutation.file).write_text(json.dumps(mutation.apply(documents[mutation.file])))
            yield copied

    def is_refused(mutation):
        (copied,) = place([mutation])
        try:
            copied.check()
            copied.table()
        except KDError:
            return True
        return False

    def look_at(group):
        for mutation in group:
            (copied,) = place([mutation])
            look("launch", sweep=copied.run_id)
            look("compare", networks="teacher", show="Sweep", sweep=copied.run_id)

    def look_at_refused(group):
        copied = list(place(group))
        look("launch", sweep=copied[0].run_id)
        look("compare", networks="teacher", show="Sweep")

    refused = [one for one in chosen if is_refused(one)]
    check(refused, look_at_refused, 10)
    check([one for one in chosen if one not in refused], look_at, 4)


@pytest.mark.parametrize("every", EVERY)
def test_no_table_of_a_league_breaks_a_page(evaluated, every, look, check):
    document = make_table().model_dump(mode="json")
    chosen, tables = mutations("league.json", document)[::every], evaluated.parent / "studies"
    tables.mkdir()
    numbers = itertools.count()

    def look_at(group):
        for mutation in group:
            path = tables / f"league-{next(numbers)}.json"
            path.write_text(json.dumps(mutation.apply(document)))
            try:
                with contextlib.suppress(ConfigError):
                    read_table(path)
                    look("compare", networks="teacher", show="League")
            finally:
                path.unlink()

    check(chosen, look_at)


# --- Experiments and the audience's votes -------------------------------------------------------------------


@pytest.mark.parametrize("every", EVERY)
@pytest.mark.parametrize("key", ["omitted-class", "few-labels", "fidelity", "shifted-images"])
def test_no_table_of_an_experiment_breaks_a_page(evaluated, key, every, look, check):
    experiment = get_experiment(key)
    results = known(experiment)
    files = {table_path(key, name): table for name, table in results.tables.items()}
    documents = {path.name: table.model_dump(mode="json") for path, table in files.items()}
    for path in files:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(path, documents[path.name])
    path = next(iter(files))
    chosen = mutations(path.name, documents[path.name])[::every]

    def look_at(group):
        for mutation in group:
            path.write_text(json.dumps(mutation.apply(documents[path.name])))
            look("experiments", experiment=key)
        look("overview")

    check(chosen, look_at)


@pytest.mark.parametrize("every", EVERY)
def test_no_file_of_an_experiments_process_breaks_a_page(evaluated, every, new_place, look, check):
    new_place("KDEXPLORER_RUNS")
    run = open_experiment("fidelity")
    run.write_status("stopped", "stopped", warning="careful", seconds_left=3.0)
    documents = {name: read_first(run.path / name) for name in ("config.json", "status.json")}
    chosen = choose(documents, every)

    def look_at(group):
        for mutation in group:
            target = new_place("KDEXPLORER_RUNS") / run.path.relative_to(run.path.parent.parent)
            shutil.copytree(run.path, target)
            (target / mutation.file).write_text(json.dumps(mutation.apply(documents[mutation.file])))
            look("experiments", experiment="fidelity")

    check(chosen, look_at)


@pytest.mark.parametrize("every", EVERY)
def test_no_file_of_the_vote_breaks_a_page(evaluated, every, new_place, look, check):
    new_place("KDEXPLORER_RUNS")
    closed = ask().model_copy(update={"counts": (1,) * 10})
    documents = {"1": closed.model_dump(), "2": ask(label=5, index=9, seed=1).model_dump()}
    chosen = choose(documents, every)

    def look_at(group):
        for mutation in group:
            store = Store(new_place("KDEXPLORER_RUNS") / open_store()._path.parent.name)
            store._create()
            for number, document in documents.items():
                found = mutation.apply(document) if mutation.file == number else document
                with store._write() as base:
                    base.execute("INSERT INTO question (json) VALUES (?)", (json.dumps(found),))
            look("audience")
            look("audience", view="projector")
        look("soft_labels")
        look(None, figure="vote")

    check(chosen, look_at)


# --- Files beside them ------------------------------------------------------------------------------------


@pytest.mark.parametrize("every", EVERY)
def test_no_file_beside_the_runs_breaks_the_launch_page(evaluated, every, new_place, look, check):
    estimate = {"images_per_second": 100.0, "evaluation": 1.0, "epoch": 2.0, "seconds": 20.0}
    documents = {
        ".download.json": {"pid": 1, "pid_started": 1.0, "boot": "x"},
        ".machine.json": {"machine": "a processor", "estimate": estimate},
    }
    chosen = choose(documents, every)

    def look_at(group):
        for mutation in group:
            folders = {".download.json": "KDEXPLORER_DATA", ".machine.json": "KDEXPLORER_RUNS"}
            text = json.dumps(mutation.apply(documents[mutation.file]))
            (new_place(folders[mutation.file]) / mutation.file).write_text(text)
            look("launch")

    check(chosen, look_at)
