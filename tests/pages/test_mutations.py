"""Whatever stands in a JSON file that the application reads: no page fails, and nothing of it is read as Markdown.

Every field of a document is replaced by odd values.
The default run takes a sample; `-m reliability` takes all mutations.
"""

import copy
import functools
import json
import operator
import os
import shutil
from dataclasses import dataclass, field

import numpy as np
import pytest

from kdexplorer.app.compare import SECTIONS
from kdexplorer.app.layout import TITLES as PAGES
from kdexplorer.errors import KDError
from kdexplorer.files import write_json
from kdexplorer.runs.checkpoints import open_checkpoint
from kdexplorer.runs.run_folder import BatchMetrics, Run, TeacherMeasures
from kdexplorer.studies.experiments import get_experiment, table_path
from kdexplorer.studies.folder import StudyFolder, left_to_train, open_experiment, prepare
from kdexplorer.studies.table import read_table
from kdexplorer.vote.store import Store, open_store
from tests.pages.runs import make_run
from tests.pages.test_experiments_page import store
from tests.studies.sample import make_table
from tests.studies.test_verdicts import known
from tests.vote.conftest import ask

HOSTILE = "![x](http://evil.example/x.png) WWW.evil.example a@evil.example :material/home: `<b>` $x$ # |"
MARKS = ("[x](", "WWW.evil", "a@evil", ":material/home", "://evil")
"""What `HOSTILE` would still contain if it were shown as Markdown."""

REMOVED = object()
VALUES = (
    None, True, -1, 0, 3, 0.5, 10**400, 1e300, float("nan"), float("inf"), "", HOSTILE, "x" * 5_000, "../../x",
    [], [None], {}, {"a": 1}, json.loads("[" * 500 + "]" * 500), REMOVED,
)  # fmt: skip


@dataclass(frozen=True)
class Mutation:
    """One field of one document, and its new value."""

    file: str
    place: tuple
    value: object
    document: object = field(compare=False)

    def __str__(self):
        value = "removed" if self.value is REMOVED else f"{self.value!r:.60}"
        return f"{self.file}: {'.'.join(map(str, self.place))} = {value}"

    @property
    def text(self):
        """The document with the field changed, as JSON."""
        changed = copy.deepcopy(self.document)
        *way, last = self.place
        inner = functools.reduce(operator.getitem, way, changed)
        if self.value is REMOVED:
            del inner[last]
        else:
            inner[last] = self.value
        return json.dumps(changed)


def places(document, place=()):
    """Every field of a document at any depth; of a list the first and the last."""
    keys = document if isinstance(document, dict) else {0, len(document) - 1} if isinstance(document, list) else ()
    for key in keys if document else ():
        yield (*place, key)
        yield from places(document[key], (*place, key))


def mutations(documents):
    """All mutations of documents, which are given by the names of their files."""
    return [
        Mutation(file, place, value, document)
        for file, document in documents.items()
        for place in places(document)
        for value in VALUES
    ]


def markdown_texts(at):
    """Everything on a page that Streamlit renders as Markdown."""
    kinds = (at.title, at.header, at.subheader, at.markdown, at.caption, at.info, at.warning, at.error, at.success)
    yield from (str(element.value) for kind in kinds for element in kind)
    yield from (part for one in at.button for part in (one.label, one.help or ""))
    yield from (one.label for one in at.expander)
    yield from (option for one in at.button_group for option in one.options)
    yield from (one.proto.label for one in at.get("page_link"))
    yield from (one.proto.text for one in at.get("progress"))


@pytest.fixture(params=[pytest.param(431, id="sample"), pytest.param(1, id="all", marks=pytest.mark.reliability)])
def every(request):
    """Which of the mutations: every so many."""
    return request.param


@pytest.fixture
def look(open_page):
    """Opens a page; nothing of `HOSTILE` is on it as a link, an image, an address or an icon."""

    def look(name, **query):
        at = open_page(name, **query)
        for text in markdown_texts(at):
            assert not any(mark in text for mark in MARKS), text
        return at

    return look


@pytest.fixture
def new_place(tmp_path_factory, monkeypatch):
    """A fresh folder for runs or networks, so that nothing of the one before is cached."""

    def new_place(variable):
        place = tmp_path_factory.mktemp("place")
        monkeypatch.setenv(variable, str(place))
        return place

    return new_place


@pytest.fixture
def check(reliability):
    """`check(chosen, look_at, size=1)`: `look_at(*group)` fails on no group of so many mutations; they are counted."""

    def check(chosen, look_at, size=1):
        for begin in range(0, len(chosen), size):
            group = chosen[begin : begin + size]
            try:
                look_at(*group)
            except Exception as error:
                raise AssertionError("\n".join(map(str, group))) from error
        reliability["JSON files mutated; every page opened"] += len(chosen)

    return check


def divide(chosen, read):
    """The mutations for which `read` succeeds, and those that it refuses."""
    usable, refused = [], []
    for mutation in chosen:
        try:
            read(mutation)
            usable.append(mutation)
        except KDError:
            refused.append(mutation)
    return usable, refused


def read_first(path):
    """The file's document; of a file of lines the first."""
    text = path.read_text()
    return json.loads(text.splitlines()[0] if path.suffix == ".jsonl" else text)


def test_no_card_breaks_a_page(evaluated, every, new_place, look, check):
    path = evaluated / "small-response" / "card.json"
    card = json.loads(path.read_text())
    environment = {"epoch": 0, "step": 0, "threads": 1, "processes": 1, "device": "cpu", "precision": "float32"}
    history = [{"epoch": n, "train": {"kd": 1, "accuracy": 0.3}, "test": {"kd": 1, "accuracy": 0.4}} for n in (0, 1)]
    card["legs"] = [
        {
            "run": "r", "initial": "r/small-scratch", "epochs": 2, "seed": 1, "recipe": {"batch_size": 20},
            "seconds": 3.0, "device": "a processor", "precision": "float32", "students": 2,
            "versions": {"torch": "2"}, "environments": [environment | {"torch": "2"}], "history": history,
        }
    ]  # fmt: skip
    write_json(path, card)  # every field is set
    scratch = evaluated.parent / "scratch"
    scratch.mkdir()

    def read(mutation):
        (scratch / "card.json").write_text(mutation.text)
        open_checkpoint(scratch)

    usable, refused = divide(mutations({"card.json": card})[::every], read)

    def place(group):
        root = new_place("KDEXPLORER_CHECKPOINTS")
        shutil.copytree(evaluated, root, dirs_exist_ok=True)
        for number, mutation in enumerate(group):
            shutil.copytree(evaluated / "small-response", root / f"m{number}", copy_function=os.link)
            (root / f"m{number}" / "card.json").unlink()
            (root / f"m{number}" / "card.json").write_text(mutation.text)
        return [f"m{number}" for number in range(len(group))]

    def look_at_usable(*group):
        names = place(group)
        look("soft_labels", teacher="teacher", students=",".join(names))
        look("attention", teacher=names[0], students=",".join(["small-scratch", *names[1:]]))
        look("live", teacher="teacher", students=",".join(names))
        look("methods", teacher="teacher", students=",".join(names))
        for name in names:
            look("soft_labels", teacher=name)
        for section in list(SECTIONS)[: None if every == 1 else 2]:
            look("compare", networks=",".join([*names, "small-scratch"]), teacher="teacher", show=section)
        for page in PAGES:
            look(page)

    def look_at_refused(*group):
        place(group)
        assert any(f"{len(group)} unusable" in one.label for one in look("compare").expander)
        look("launch")

    check(usable, look_at_usable, 4)
    check(refused, look_at_refused, 40)


def test_no_file_of_a_run_breaks_a_page(evaluated, make_checkpoint, every, new_place, look, check):
    run = make_run("stopped", students=("scratch", "response"), teacher="teacher", message="stopped", warning="careful",
                   epoch=1, epochs=2, step=1, steps_per_epoch=4, images_per_second=9.0, seconds_left=3.0)  # fmt: skip
    probes = np.zeros((20, 10)).tolist()
    figures = TeacherMeasures(name="teacher", accuracy=0.9, cross_entropy=0.3, probes=probes, probe_labels=[0, 9])
    write_json(run.path / "teacher.json", figures.model_dump())
    run.append_batch_metrics([BatchMetrics(epoch=0.5, student="s-scratch", train={"accuracy": 0.5, "objective": 1.0})])
    make_checkpoint(run.path / "s-response", run=run.run_id, objective={"terms": [{"method": "kd"}]})

    def read(mutation):
        path = run.path.with_name("broken")
        path.mkdir(exist_ok=True)
        (path / "config.json").write_text(mutation.text)
        try:
            Run(path).config()
        finally:
            shutil.rmtree(path)

    names = ("config.json", "status.json", "teacher.json", "metrics.jsonl", "batches.jsonl")
    chosen = mutations({name: read_first(run.path / name) for name in names})[::every]
    usable, broken = divide([one for one in chosen if one.file == "config.json"], read)
    usable += [one for one in chosen if one.file != "config.json"]

    def place(group):
        root = new_place("KDEXPLORER_RUNS")
        for number, mutation in enumerate(group):
            copied = Run(shutil.copytree(run.path, root / f"20260101-0000{number:02}-m-0000"))
            path = copied.path / mutation.file
            path.write_text(f"{mutation.text}\n{path.read_text()}" if path.suffix == ".jsonl" else mutation.text)
            yield copied

    def look_at(*group):
        names = [copied.run_id for copied in place(group)]
        for name in names:
            look("launch", run=name)
        look("compare", networks=",", runs=",".join(names), show="Learning curves")
        for page in PAGES:
            look(page)

    def look_at_broken(*group):
        """Such runs are all shown alike: as damaged."""
        for copied in place(group):
            assert copied.status().state == "damaged"
        for page, query in (("launch", {}), ("launch", {"run": copied.run_id}), ("compare", {"runs": copied.run_id})):
            look(page, **query)

    check(usable, look_at, 8)
    check(broken, look_at_broken, 20)


def test_no_file_of_a_sweep_breaks_a_page(swept, every, new_place, look, check):
    left = left_to_train(swept.config())
    prepare(swept, left)
    facts = {"runs": 3, "finished": 1, "working": (left[0].run,), "failed": {left[1].run: "why"}}
    swept.write_status("stopped", "stopped", **facts)

    def place(*group):
        root = new_place("KDEXPLORER_RUNS")
        for number, mutation in enumerate(group):
            target = root / "studies" / (swept.run_id if len(group) == 1 else f"{swept.run_id}-m{number}")
            copied = StudyFolder(shutil.copytree(swept.path, target))
            (copied.path / mutation.file).write_text(mutation.text)
        return copied

    def read(mutation):
        copied = place(mutation)
        copied.check()
        copied.table()

    def look_at(*group):
        look("launch", sweep=place(*group).run_id)
        look("compare", networks="teacher", show="Sweep", **{"sweep": swept.run_id} if len(group) == 1 else {})

    names = ("config.json", "status.json", "table.json")
    usable, refused = divide(mutations({name: read_first(swept.path / name) for name in names})[::every], read)
    check(refused, look_at, 10)
    check(usable, look_at)


def test_no_table_of_a_league_breaks_a_page(evaluated, every, look, check):
    path = evaluated.parent / "studies" / "league-mutated.json"
    path.parent.mkdir()

    def read(mutation):
        path.write_text(mutation.text)
        read_table(path)

    def look_at(*group):
        for number, mutation in enumerate(group):
            path.with_stem(f"league-{number}").write_text(mutation.text)
        look("compare", networks="teacher", show="League")

    usable, refused = divide(mutations({path.name: make_table().model_dump(mode="json")})[::every], read)
    path.unlink()
    check(usable, look_at)
    check(refused, look_at, 8)


@pytest.mark.parametrize("key", ["omitted-class", "few-labels", "fidelity", "shifted-images"])
def test_no_table_of_an_experiment_breaks_a_page(evaluated, key, every, look, check):
    results = known(get_experiment(key))
    store(get_experiment(key), results)
    name, table = next(iter(results.tables.items()))
    path = table_path(key, name)

    def look_at(mutation):
        path.write_text(mutation.text)
        look("experiments", experiment=key)
        look("overview")

    check(mutations({path.name: table.model_dump(mode="json")})[::every], look_at)


def test_no_file_of_an_experiments_process_breaks_a_page(evaluated, every, new_place, look, check):
    new_place("KDEXPLORER_RUNS")
    run = open_experiment("fidelity")
    run.write_status("stopped", "stopped", warning="careful", seconds_left=3.0)

    def look_at(mutation):
        target = new_place("KDEXPLORER_RUNS") / run.path.relative_to(run.path.parent.parent)
        shutil.copytree(run.path, target)
        (target / mutation.file).write_text(mutation.text)
        look("experiments", experiment="fidelity")

    documents = {name: read_first(run.path / name) for name in ("config.json", "status.json")}
    check(mutations(documents)[::every], look_at)


def test_no_file_of_the_vote_breaks_a_page(evaluated, every, new_place, look, check):
    closed = ask().model_copy(update={"counts": (1,) * 10})
    documents = {"1": closed.model_dump(), "2": ask(label=5, index=9, seed=1).model_dump()}

    def look_at(mutation):
        store = Store(new_place("KDEXPLORER_RUNS") / open_store()._path.parent.name)
        store._create()
        for number, document in documents.items():
            text = mutation.text if mutation.file == number else json.dumps(document)
            with store._write() as base:
                base.execute("INSERT INTO question (json) VALUES (?)", (text,))
        look("audience")
        look("audience", view="projector")
        look("soft_labels")
        look(None, figure="vote")

    check(mutations(documents)[::every], look_at)


def test_no_file_beside_the_runs_breaks_the_launch_page(evaluated, every, new_place, look, check):
    estimate = {"images_per_second": 100.0, "evaluation": 1.0, "epoch": 2.0, "seconds": 20.0}
    documents = {
        ".download.json": {"pid": 1, "pid_started": 1.0, "boot": "x"},
        ".machine.json": {"machine": "a processor", "estimate": estimate},
    }
    folders = {".download.json": "KDEXPLORER_DATA", ".machine.json": "KDEXPLORER_RUNS"}

    def look_at(mutation):
        (new_place(folders[mutation.file]) / mutation.file).write_text(mutation.text)
        look("launch")

    check(mutations(documents)[:: min(every, 37)], look_at)
