"""Launch without a browser: the form, a run, and each way in which they can go wrong."""

import json
import os
import re
import sys
import time
from types import SimpleNamespace
from unittest.mock import Mock

import numpy as np
import pytest

from kdexplorer import notation
from kdexplorer.app import launch as launch_page
from kdexplorer.app.launch import form
from kdexplorer.app.launch import run as run_view
from kdexplorer.app.launch.students import edit_student, make_student
from kdexplorer.app.parts import measurement
from kdexplorer.app.server import access, turns
from kdexplorer.config import recipe_settings
from kdexplorer.datasets import download, get_dataset
from kdexplorer.errors import RunError
from kdexplorer.methods import get_method
from kdexplorer.presets import PRESETS
from kdexplorer.runs.array_store import list_files, save_arrays
from kdexplorer.runs.launch import create_run
from kdexplorer.runs.run_folder import list_runs
from kdexplorer.studies import folder as study_folder
from kdexplorer.training import estimate as estimates
from kdexplorer.training.estimate import Estimate, format_duration
from tests.datasets.test_folder import write
from tests.pages.reading import button, link_labels, open_popover, specs, text, turn_to
from tests.pages.runs import figures, make_run
from tests.training.configs import wait_for

pytestmark = pytest.mark.usefixtures("own")


@pytest.fixture
def queued(monkeypatch):
    """A run that is started is queued by this process, without a trainer."""
    monkeypatch.setattr(form, "launch_run", lambda config: create_run(config, config.name))
    monkeypatch.setattr(form, "JUST_NOW", 600)  # seconds: this machine may be busy


def experiment(at):
    """The form's values."""
    return at.session_state["run_form"]


def test_a_wrong_value_is_reported_beside_its_field_and_nothing_can_start(open_page):
    at = open_page("launch")
    assert not button(at, "Start training").disabled  # without data and without a network
    assert "python -m kdexplorer train --name teacher --dataset synthetic" in text(at)
    at.number_input(key="form_epochs").set_value(0).run()
    assert "greater than or equal to 1" in text(at)
    assert button(at, "Start training").disabled
    assert "python -m kdexplorer train" not in text(at)
    at.number_input(key="form_epochs").set_value(None).run()
    assert button(at, "Start training").disabled
    at.number_input(key="form_epochs").set_value(3)
    at.number_input(key="form_start_resolution").set_value(20).run()
    assert "multiple of 8" in text(at)
    at.number_input(key="form_start_resolution").set_value(16).run()
    assert not button(at, "Start training").disabled
    assert "--start-resolution 16" in text(at)


def test_a_recipe_fills_its_fields_and_another_takes_its_place(open_page):
    at = turn_to(turn_to(open_page("launch"), "compare"), "launch")
    before = dict(experiment(at))
    assert before["epochs"] == 6
    at.selectbox(key="form_recipe").set_value("fast").run()
    assert "--recipe fast" in text(at)
    assert "--momentum" not in text(at)
    assert at.number_input(key="form_batch_size").value == experiment(at)["batch_size"] == 1000
    assert at.selectbox(key="form_first_layer").value == "whitening"
    turn_to(turn_to(at, "compare"), "launch")
    assert experiment(at) == before | recipe_settings("fast")
    at.selectbox(key="form_recipe").set_value("standard").run()
    assert experiment(at)["optimizer"] == "sgd"
    assert experiment(at)["epochs"] == before["epochs"]


def test_the_first_state_is_the_demo_on_the_data_that_are_there(queued, monkeypatch, open_page):
    monkeypatch.delenv("KDEXPLORER_CHECKPOINTS")
    assert not open_page("launch").segmented_control  # the form is behind Customize
    at = open_page("launch", customize="true")
    data = at.segmented_control(key="form_dataset")
    options = [option.content for option in data.proto.options]
    assert options[:2] == ["CIFAR-10, complete", "5,000 CIFAR-10 images (included)"]
    assert data.value == "cifar10-small"
    assert "--dataset cifar10-small" in text(at)
    assert "--teacher resnet20-combined" in text(at)
    button(at, "Train now").click().run()
    config = list_runs()[0].config()
    assert (config.dataset, config.train_images, config.teacher) == ("cifar10-small", None, "resnet20-combined")
    assert "Queued" in text(at)
    monkeypatch.setattr(type(get_dataset("cifar10")), "is_available", lambda self: True)
    at = open_page("launch", customize="true")
    button(at, "The lab's table with small networks").click().run()
    assert (experiment(at)["dataset"], experiment(at)["train_images"]) == ("cifar10", None)


@pytest.mark.parametrize("method", ["tf_kd", "reviewkd", "sp", "altered_kd"])  # of each family; a setting is no number
def test_a_method_of_the_registry_becomes_a_term_with_its_settings(evaluated, method, open_page):
    at = open_page("launch")
    if get_method(method).needs:
        at.selectbox(key="form_teacher").set_value("teacher").run()
    at.selectbox(key="new_method").set_value(method).run()
    at.button(key="add_term").click().run()
    (student,) = experiment(at)["students"]
    assert student["terms"] == [get_method(method).Settings().model_dump()]
    assert get_method(method).formula in at.latex[0].value
    settings = {name: value for name, value in student["terms"][0].items() if name not in ("method", "weight")}
    for value in settings.values():
        assert (rf"= \text{{{value}}}" if isinstance(value, str) else f"= {value:g}") in at.latex[0].value
    weight(at).set_value(0.0).run()
    assert "greater than 0" in text(at)
    assert button(at, "Start training").disabled
    weight(at).set_value(0.25).run()
    turn_to(turn_to(at, "compare"), "launch")  # the form keeps its values
    assert experiment(at)["students"][0]["terms"][0]["weight"] == weight(at).value == 0.25
    assert f"{method}:weight=0.25" in text(at)
    assert r"0.25\," in at.latex[0].value
    assert at.dataframe[0].value["Terms"].tolist() == [f"0.25 {get_method(method).label}"]
    assert not button(at, "Start training").disabled
    button(at, f"Remove {get_method(method).label}").click().run()
    assert experiment(at)["students"][0]["terms"] == []


def test_a_student_is_added_with_a_widget_for_every_setting_of_its_terms_and_removed(evaluated, open_page):
    at = open_page("launch")
    button(at, "Add student").click().run()
    assert [student["name"] for student in experiment(at)["students"]] == ["resnet20", "resnet20-scratch"]
    at.selectbox(key="form_student_1_preset").set_value("combined").run()
    assert "no teacher is given" in text(at)
    at.selectbox(key="form_teacher").set_value("teacher").run()
    numbers = {field.key.rpartition("_")[2]: field for field in at.number_input if "form_term" in field.key}
    choices = {field.key.rpartition("_")[2]: field for field in at.selectbox if "form_term" in field.key}
    assert set(numbers) == {"weight", "temperature"}
    assert set(choices) == {"power"}
    assert "at least 0.1, at most 100" in numbers["temperature"].help
    numbers["temperature"].set_value(2.0)
    choices["power"].set_value(2).run()
    student = experiment(at)["students"][1]
    assert [student["terms"][0]["temperature"], student["terms"][1]["power"]] == [2.0, 2]
    assert "T = 2" in at.latex[0].value
    assert at.dataframe[0].value["Preset"].tolist() == ["scratch", "custom"]
    at.text_input(key="form_student_1_name").set_value("resnet20").run()
    assert "Two students are called resnet20" in text(at)
    button(at, "Remove student").click().run()
    assert [student["name"] for student in experiment(at)["students"]] == ["resnet20"]
    assert button(at, "Remove student").disabled
    for _ in range(2):  # one message may change and remove the same student or term
        button(at, "Add student").click().run()
    at.text_input(key="form_student_2_name").set_value("typed")
    button(at, "Remove student").click().run()
    at.selectbox(key="form_student_0_preset").set_value("response").run()
    at.selectbox(key="form_student").set_value(1)
    button(at, "Remove student").click().run()
    assert [student["name"] for student in experiment(at)["students"]] == ["resnet20"]
    weight(at).set_value(0.5)
    button(at, "Remove KD").click().run()
    assert experiment(at)["students"][0]["terms"] == []


def weight(at):
    return next(field for field in at.number_input if re.match("form_term.*_weight", field.key))


def test_starting_shows_the_run_and_its_link(queued, open_page):
    at = open_page("launch")
    button(at, "Start training").click().run()
    (run,) = list_runs()
    assert at.query_params["run"] in (run.run_id, [run.run_id])
    assert "Queued" in text(at)
    button(at, "Stop").click().run()
    assert "has not started yet" in text(at)
    other = open_page("launch")  # as the second click of a double click
    button(other, "Add to the queue").click().run()
    assert list_runs() == [run]
    assert other.query_params["run"] == at.query_params["run"]
    os.utime(run.path / "config.json", (0, 0))
    button(open_page("launch"), "Add to the queue").click().run()
    assert len(list_runs()) == 2


@pytest.fixture
def measured(monkeypatch):
    """Estimates end at once with what this list contains: a result, None while it is measured, or an error."""
    outcome = [make_estimate()]

    def measure(configs, add_up, title=""):
        def poll():
            if isinstance(outcome[0], Exception):
                raise outcome[0]
            return outcome[0] and add_up([outcome[0]])

        return Mock(poll=poll, **{"describe.return_value": title})

    for module in (form, launch_page):
        monkeypatch.setattr(module, "Measurement", measure)
    return outcome


def make_estimate(**changes):
    return Estimate(**{"seconds": 75.0, "evaluation": 1.0, "epoch": 30.0, "images_per_second": 1000.0} | changes)


def estimate(at):
    button(at, "Estimate the time").click().run()
    return text(at)


def test_an_estimate_is_shown_until_the_run_changes_and_says_what_costs_time(measured, evaluated, open_page):
    at = open_page("launch")
    measured[0] = make_estimate(warning="At 16 pixels the teacher errs", stored=0.5, speedup=1.94)
    assert "stored for 50 % of the epochs: 1.9 times faster" in estimate(at)
    assert "Estimated time: **1 min 15 s**" in text(at)
    assert at.warning[0].value == "At 16 pixels the teacher errs."
    at.number_input(key="form_epochs").set_value(9).run()
    assert "Estimated time" not in text(at)
    measured[0] = make_estimate(evaluation=3.0)
    words = estimate(at)
    assert "3 s after each epoch, 10 % of the time, which more epochs between evaluations save" in words
    assert "times faster" not in words
    at.number_input(key="form_evaluate_every").set_value(3).run()
    words = estimate(at)
    assert "3 s after every 3 epochs. " in words
    assert "--evaluate-every 3" in words
    at.selectbox(key="form_teacher").set_value("teacher").run()
    for method, sentence in (("kd", ""), ("at", "AT needs the outputs"), ("fitnets", "AT, FitNets need the outputs")):
        at.selectbox(key="new_method").set_value(method).run()
        at.button(key="add_term").click().run()
        words = estimate(at)
        assert "Estimated time: **1 min 15 s**" in words
        assert sentence in words
        assert ("the teacher computes every batch" in words) == bool(sentence)


def test_the_demo_has_the_length_that_fits_the_machine_once_it_is_measured(measured, monkeypatch, open_page):
    monkeypatch.delenv("KDEXPLORER_CHECKPOINTS")
    measured[0] = RunError("The time could not be estimated: no memory")
    at = open_page("launch")
    assert "no memory" in at.error[0].value
    measured[0] = None
    button(at, "Measure again").click().run()
    assert not at.error
    assert "Measuring how fast this machine is" in text(at)
    assert f"for {estimates.LENGTHS[0]} epochs" in text(at)
    seconds = estimates.TARGET + 1  # of the default length; the one before it fits
    measured[0] = make_estimate(seconds=seconds, epoch=2.0)
    at.run()
    assert f"for {estimates.LENGTHS[0]} epochs" in text(at)
    assert at.metric[0].value == f"≈ {format_duration(seconds - 2 * (estimates.LENGTHS[1] - estimates.LENGTHS[0]))}"
    estimates.store_estimate(measured[0].model_copy(update={"seconds": 20.0}))  # by another visitor
    assert f"for {estimates.LENGTHS[-1]} epochs" in text(at.run())


def test_a_download_that_fails_is_reported_and_one_that_succeeds_ends_the_offer(monkeypatch, data_folder, open_page):
    def program(code):
        monkeypatch.setattr(download, "COMMAND", (sys.executable, "-c", code))

    def has_ended():
        return download.download_status(get_dataset("cifar10")).state != "running"

    at = open_page("launch")
    assert "complete CIFAR-10 is missing" in text(at)
    at.segmented_control(key="form_dataset").set_value("cifar10").run()
    assert button(at, "Start training").disabled
    program("raise SystemExit('error: the network is down')")
    button(at, "Download CIFAR-10").click().run()
    wait_for(has_ended)
    at.run()
    assert "the network is down" in at.error[0].value
    program(f"import os; os.mkdir({str(data_folder / 'cifar-10-batches-py')!r})")
    button(at, "Download CIFAR-10").click().run()
    wait_for(has_ended)
    at.run()
    assert not any(one.label == "Download CIFAR-10" for one in at.button)
    assert "CIFAR-10 is missing" not in text(at)
    assert not button(at, "Start training").disabled


def test_a_finished_run_ends_with_what_its_student_gained(open_page, make_checkpoint, own):
    make_checkpoint(own / "teacher")
    run = make_run(students=("scratch", "response"), teacher="teacher")
    for preset, right in (("scratch", 60), ("response", 72)):
        facts = {"objective": PRESETS[preset], "run": run.run_id, "epochs": 2}
        make_checkpoint(run.path / f"s-{preset}", **facts, **figures(right))
    at = open_page("launch", run=run.run_id)
    assert at.metric[0].value == "+10.0 points"
    assert "+10.0 points over its scratch baseline (60.0 against 50.0 %), 120 test images" in text(at)
    assert [one.key for one in at.button if not one.key.startswith("open_")][-1] == "delete"
    assert "Soft labels: only s-response is right" in link_labels(at)
    assert "Soft labels: only s-scratch is right" not in link_labels(at)
    links = {link.proto.label: link.proto.query_string for link in at.get("page_link")}
    assert {"teacher=teacher", f"students={run.run_id}%2Fs-scratch%2C{run.run_id}%2Fs-response"} <= set(
        links["Soft labels"].split("&")
    )
    open_popover(at, "handout_offer")
    assert "handout" in [element.proto.id.rpartition("-")[2] for element in at.get("download_button")]


def test_a_failed_run_shows_its_message_and_its_log_and_a_lost_one_whether_it_can_be_resumed(monkeypatch, open_page):
    run = make_run("failed", teacher="/home/ann/nets/teacher")
    run.write_status("failed", f"s-scratch: objective became nan in epoch 1, step 3/4, see {run.path}/log.txt.")
    (run.path / "log.txt").write_text("INFO started\nERROR it broke here\n")
    at = open_page("launch", run=run.run_id)
    assert "became nan" in at.error[0].value
    assert "it broke here" in text(at)
    assert "/home/ann" in text(at)
    assert button(at, "Resume")
    with monkeypatch.context() as visitor:  # who does not see where the server has its files
        visitor.setattr(access, "is_presenter", lambda: False)
        at = open_page("launch", run=run.run_id)
    assert f"step 3/4, see {run.run_id}/log.txt" in at.error[0].value
    assert ("/home/ann" in text(at), "--teacher teacher" in text(at)) == (False, True)
    run = make_run("running")
    status = json.loads((run.path / "status.json").read_text())
    (run.path / "status.json").write_text(json.dumps(status | {"pid": 2**22 + 1}))
    at = open_page("launch", run=run.run_id)
    assert "Lost" in text(at)

    monkeypatch.setattr(run_view, "start_run", Mock(side_effect=RunError("there is nothing to start.")))
    button(at, "Resume").click().run()
    assert "nothing to start" in at.error[0].value
    monkeypatch.setattr(run_view, "_show_learning", Mock(side_effect=RunError("the data are damaged.")))
    at = open_page("launch", run=run.run_id)
    assert "damaged" in at.error[0].value
    assert button(at, "Yes, delete")


def test_a_live_run_has_progress_and_cannot_be_deleted_and_a_finished_one_has_images_by_epoch(open_page):
    run = make_run("running", epochs=4, epoch=1, step=2, steps_per_epoch=4, seconds_left=95, images_per_second=321.0)
    at = open_page("launch", run=run.run_id)
    proto = at.get("progress")[0].proto
    assert proto.value in (37, 38)  # 6 of 16 steps
    assert "Epoch 2 of 4, about 1 min 35 s left, 321 images/s" in proto.text
    assert "from the disk" not in proto.text
    run.write_status("running", epochs=4, epoch=1, step=2, steps_per_epoch=4, teacher_stored=True)
    proto = at.run().get("progress")[0].proto
    assert "Epoch 2 of 4, teacher predictions from the disk" in proto.text
    assert not any(one.label == "Yes, delete" for one in at.button)
    run.write_status("finished")
    assert "Finished" in text(at.run())
    assert button(at, "Yes, delete")
    at.selectbox(key="probe").set_value("5").run()
    at.segmented_control(key="probe_T").set_value("4.0").run()
    assert len(specs(at)) == 3
    assert "after epoch 4 at T = 4" in specs(at)[2]["description"]


MARKUP = "![x](http://evil.example/x.png) [y](//evil.example) www.evil.example <img src=x> $z$ :red[w] `v`"
LINKED = (
    "run", "sweep", "teacher", "students", "image", "T", "alpha", "networks", "baseline", "runs", "show", "source",
)  # fmt: skip
REPORTED = {"launch": 2, "soft_labels": 5, "attention": 3, "compare": 5}
"""Pages, and how many of these values of a link they know."""
ODD = ("-1", "\0", "9" * 5000, "1e999", "../..", ",,,,")


@pytest.mark.parametrize(
    "value", [MARKUP, "x" * 100_000, "nan", *(pytest.param(one, marks=pytest.mark.reliability) for one in ODD)]
)
def test_odd_values_in_a_link_are_reported_as_text_and_never_show_a_traceback(evaluated, value, open_page):
    for page, count in REPORTED.items():
        warnings = open_page(page, **dict.fromkeys(LINKED, value)).warning
        assert value != MARKUP or len(warnings) == count
        assert not any(re.search(r"(?<!\\)[\[<`$]|//|www\.", warning.value) for warning in warnings)


def test_the_list_follows_the_runs_states_and_stops_once_all_have_ended(monkeypatch, open_page):
    run = make_run("queued")
    shown, polls = [], []

    def fragment(draw, run_every=None):
        """Streamlit's, which draws again and again while the page is open."""

        def follow():
            polls.append(run_every)
            draw()
            for state in ("running", "finished") if run_every else ():
                run.write_status(state, epoch=0, epochs=2)
                draw()

        return follow

    monkeypatch.setattr(launch_page.st, "fragment", fragment)
    monkeypatch.setattr(launch_page, "_show_row", lambda run, kind, status: shown.append(status.state))
    open_page("launch", run="none")
    assert shown == ["queued", "running", "finished"]
    assert measurement.POLL in polls
    assert polls[-1] is None  # of the page that was drawn once more


def test_a_visitor_who_watches_a_run_asks_with_pauses(monkeypatch, open_page):
    run = make_run("running")
    intervals, begin = [], time.monotonic()  # not before the turns of other tests
    now = [begin]
    monkeypatch.setattr(access, "is_presenter", lambda: False)
    monkeypatch.setattr(launch_page.st, "fragment", lambda draw, run_every=None: intervals.append(run_every) or draw)
    open_page("launch", run=run.run_id)
    monkeypatch.setattr(turns, "time", SimpleNamespace(monotonic=lambda: now[0]))
    watcher = turns.Visitor()
    looks = sorted((every * number, every) for every in intervals if every for number in range(1, 50))
    for at, _ in looks[:60]:
        now[0] = max(now[0], begin + at) + 0.05
        turns.end(look := turns.ask(watcher))
        assert not look.is_heavy
    assert len([every for every in intervals if every]) == 2


def test_the_form_starts_a_sweep_and_shows_it(evaluated, monkeypatch, open_page):
    monkeypatch.setattr(study_folder.launch, "start_run", lambda run: None)
    at = open_page("launch")
    at.selectbox(key="form_teacher").set_value("teacher").run()
    at.toggle(key="is_sweep").set_value(True).run()
    assert "13 students" in text(at)
    assert "× 3 seeds = 39 trained networks" in text(at)
    assert "python -m kdexplorer sweep --student resnet8" in text(at)
    for wrong in ([], ["hot"], [1000.0]):
        at.multiselect(key="form_sweep_temperatures").set_value(wrong).run()
        assert "emperatures" in text(at)
        assert button(at, "Start training").disabled
    at.multiselect(key="form_sweep_temperatures").set_value([2.0])
    at.number_input(key="form_sweep_seeds").set_value(2).run()
    assert "--temperature 2 --weight 0.5 0.7 0.9 --seeds 2" in text(at)
    at.button_group(key="form_sweep_hold").set_value("gradient").run()
    assert "--hold gradient" in text(at)
    button(at, "Start the sweep").click().run()
    (sweep,) = study_folder.list_sweeps()
    assert ", 1 at T = 4, " in sweep.config().study.describe_factors()
    assert at.query_params["sweep"] in (sweep.run_id, [sweep.run_id])
    assert "Queued" in text(at)


def test_stored_predictions_are_named_and_can_be_deleted(open_page):
    assert "Stored teacher predictions" not in text(open_page("launch"))
    save_arrays({"number": 1}, {"logits": np.zeros((1000, 10), np.float32)})
    at = open_page("launch")
    assert "attention similarities: 1 file" in text(at)
    at.button(key="delete_predictions").click().run()
    assert not list_files()


def test_a_folder_of_ones_own_images_becomes_the_data_of_the_form(tmp_path, open_page):
    write(tmp_path / "shapes")
    at = open_page("launch")
    at.text_input(key="own_folder").set_value(str(tmp_path / "missing"))
    at.button(key="read_folder").click().run()
    assert "is not a folder" in at.error[0].value
    (tmp_path / "shapes/disc/notes.txt").write_text("no image")
    at.text_input(key="own_folder").set_value(str(tmp_path / "shapes"))
    at.button(key="read_folder").click().run()
    assert at.session_state["run_form"]["dataset"] == f"folder:{tmp_path / 'shapes'}"
    assert any("notes.txt" in one.value for one in at.warning)


def make_one(preset="scratch", **changes):
    name = f"resnet8-{preset}"
    return make_student({"name": name, "architecture": "resnet8"} | PRESETS.get(preset, {}) | changes)


def test_a_preset_sets_the_objective_and_a_name_that_was_not_typed_follows():
    students = [make_one(), make_one("combined")]

    def edit(name, value):
        edit_student(students, students[0], name, value)
        return students[0]["name"], notation.find_preset(students[0])

    assert edit("preset", "combined") == ("resnet8-combined-2", "combined")
    assert students[0]["terms"] == students[1]["terms"]
    assert edit("architecture", "resnet20") == ("resnet20-combined", "combined")
    assert edit("ce_weight", 0.5) == ("resnet20-kd+at", None)
    assert edit("preset", "custom") == ("resnet20-kd+at", None)
    assert edit("name", "RESNET8-combined") == ("RESNET8-combined", None)
    assert edit("ce_weight", None) == ("RESNET8-combined", None)  # until it is reported
    assert students[0]["ce_weight"] is None
    assert edit("name", "") == ("resnet20-kd+at", None)


def test_an_objective_without_cross_entropy_and_with_smoothing():
    student = make_one("own", terms=[{"method": "kd"}])
    (term,) = student["terms"]
    assert "CE" not in notation.objective_formula(student | {"ce_weight": 0.0})
    assert "0.1" in notation.objective_formula(student | {"label_smoothing": 0.1})
    assert "10^{6}" in notation.objective_formula(student | {"terms": [term | {"weight": 1e6}]})
    assert "?" in notation.objective_formula(student | {"ce_weight": None, "terms": [term | {"weight": None}]})
