"""Launch and Compare without a browser: first state, main action, and each way in which it can go wrong."""

from __future__ import annotations

import json
import re
import sys
import time

import numpy as np
import pytest
import streamlit as st

from kdexplorer import checkpoints, cli, data, download, estimate, metrics, presenter, runs, surface, sweep
from kdexplorer.config import ExperimentConfig


@pytest.fixture(autouse=True)
def clean(monkeypatch, tmp_path):
    """No networks, no CIFAR-10, a small test split, nothing cached from the test before."""
    monkeypatch.setitem(data.SYNTHETIC_SIZES, "test", 120)
    monkeypatch.setenv("KDEXPLORER_CHECKPOINTS", str(tmp_path / "bundled"))
    monkeypatch.setenv("KDEXPLORER_DATA", str(tmp_path / "data"))
    st.cache_data.clear()
    st.cache_resource.clear()


@pytest.fixture
def family(tmp_path, make_checkpoint):
    """A bundled teacher with a scratch student and a distilled one, measured on 120 synthetic images."""
    labels = data.load_split("synthetic", "test").labels

    def make(name, right, seed, architecture="resnet8", **changes):
        answers = np.where(np.arange(120) < right, labels, (labels + 1) % 10)
        logits = np.random.default_rng(seed).normal(0, 0.1, (120, 10)) + 3 * np.eye(10)[answers]
        facts = {"test_accuracy": right / 120, "test_cross_entropy": metrics.cross_entropy(logits, labels)}
        return make_checkpoint(
            tmp_path / "bundled" / name, architecture, seed=seed, logits=logits, test_objective=1.0, **facts | changes
        )

    teacher = make("teacher", 110, 0, architecture="resnet20")
    make("small-scratch", 60, 1, run="r")
    make(
        "small-response", 80, 2, run="r", method="response", teacher={"name": "teacher", "sha256": teacher.sha256},
        objective={"ce_weight": 0.3, "response_weight": 0.7}, test_terms={"cross_entropy": 1.0, "response": 1.0},
    )  # fmt: skip
    return tmp_path / "bundled"


def text(at):
    kinds = (at.markdown, at.caption, at.info, at.warning, at.error, at.success, at.code, at.subheader)
    return "\n".join(str(element.value) for kind in kinds for element in kind)


def button(at, label):
    return next(b for b in at.button if b.label == label)


def make_run(state="finished", name="demo", students=("scratch",), epochs=2, teacher=None, **facts):
    """A run folder as the trainer would leave it."""
    made = ExperimentConfig(
        name=name,
        dataset="synthetic",
        train_images=300,
        batch_size=64,
        epochs=epochs,
        teacher=teacher,
        students=[{"name": f"s-{method}", "architecture": "resnet8"} for method in students],
    )
    run = runs.create(made)
    generator = np.random.default_rng(0)
    rows = [
        {
            "epoch": epoch,
            "student": student.name,
            "train": {"objective": 2.0, "cross_entropy": 2.0, "accuracy": 0.2},
            "test": {"objective": 2.0, "cross_entropy": 2.0 - epoch / 10, "accuracy": 0.3 + epoch / 10},
            "probes": generator.normal(size=(20, 10)).round(3).tolist(),
            "seconds": 1.0,
        }
        for epoch in range(epochs)
        for student in made.students
    ]
    run.append_metrics(rows)
    run.write_status(state, **facts)
    return run


# --- Launch: the form ---------------------------------------------------------------------------------------


def test_the_first_state_offers_what_works_with_nothing(runs_root, open_page):
    at = open_page("launch")
    assert not button(at, "Start training").disabled
    assert "None yet" in text(at)
    assert "python -m kdexplorer train" in text(at)
    assert "--dataset synthetic" in text(at)


def test_a_wrong_value_is_told_and_nothing_can_start(open_page):
    at = open_page("launch")
    at.number_input(key="form_epochs").set_value(0)
    at.run()
    assert "Should be greater than or equal to 1" in text(at)
    assert button(at, "Start training").disabled
    assert "python -m kdexplorer train" not in text(at)
    at.number_input(key="form_epochs").set_value(None)
    at.run()
    at.number_input(key="form_epochs").set_value(3)
    at.number_input(key="form_start_resolution").set_value(20)
    at.run()
    assert "Should be a multiple of 8" in text(at)
    at.number_input(key="form_start_resolution").set_value(16)
    at.run()
    assert not button(at, "Start training").disabled
    assert "--start-resolution 16" in text(at)


def test_the_demo_without_cifar10_says_what_is_missing_and_offers_to_get_it(family, open_page):
    at = open_page("launch")
    button(at, "One-minute demo").click()
    at.run()
    assert "not here yet" in text(at)
    assert "no teacher is given" in text(at) or "no network" in text(at)
    assert button(at, "Get CIFAR-10")
    assert button(at, "Start training").disabled


def test_students_are_added_and_removed(family, open_page):
    at = open_page("launch")
    at.selectbox(key="new_preset").set_value("response")
    button(at, "Add student").click()
    at.run()
    assert "no teacher is given" in text(at)
    at.selectbox(key="form_teacher").set_value("teacher")
    at.run()
    assert "resnet8:response" in text(at)
    assert "--teacher teacher" in text(at)
    button(at, "Remove the last").click()
    at.run()
    assert "resnet8:response" not in text(at)


def test_the_form_is_kept_while_other_pages_are_visited(open_page):
    at = open_page("launch")
    at.number_input(key="form_epochs").set_value(7)
    at.run()
    at.switch_page("pages/compare.py")
    at.run()
    at.switch_page("pages/launch.py")
    at.run()
    assert at.number_input(key="form_epochs").value == 7


def test_starting_shows_the_run_and_puts_it_into_the_url(monkeypatch, open_page):
    monkeypatch.setattr(runs, "launch", runs.create)  # queued by this process, no trainer
    at = open_page("launch")
    button(at, "Start training").click()
    at.run()
    (run,) = runs.list_runs()
    assert at.query_params["run"] in (run.run_id, [run.run_id])
    assert "Waiting" in text(at)
    button(at, "Stop").click().run()
    assert "has not started yet" in text(at)
    second = open_page("launch")
    assert "1 run before it" in text(second)
    assert button(second, "Add to the queue")


def test_a_launch_that_the_disk_refuses_is_a_sentence(monkeypatch, open_page):
    def refuse(made):
        raise runs.RunError("a run cannot be written: check the folder and the disk.")

    monkeypatch.setattr(runs, "launch", refuse)
    at = open_page("launch")
    button(at, "Start training").click()
    at.run()
    assert "cannot be written" in at.error[0].value


def measurement(monkeypatch, poll):
    """Estimates end at once with what `poll` returns or raises."""

    class Measurement:
        def __init__(self, made):
            self.config, self.started = made, time.time()

        def poll(self):
            return poll()

        def cancel(self):
            pass

    monkeypatch.setattr(estimate, "Measurement", Measurement)


def test_the_estimate_is_asked_for_and_shown(monkeypatch, open_page):
    measurement(monkeypatch, lambda: {"seconds": 75.0, "images_per_second": 1000.0, "evaluation": 1.0})
    at = open_page("launch")
    button(at, "Estimate the time").click()
    at.run()
    assert at.metric[0].value == "1 min 15 s"
    at.number_input(key="form_epochs").set_value(9)  # another question: the answer is gone
    at.run()
    assert not at.metric


def test_an_estimate_that_fails_can_be_asked_for_again(monkeypatch, open_page):
    def poll():
        raise runs.RunError("The time could not be estimated: no memory")

    measurement(monkeypatch, poll)
    at = open_page("launch")
    button(at, "Estimate the time").click()
    at.run()
    assert "no memory" in at.error[0].value
    button(at, "Measure again").click()
    at.run()
    assert not at.error
    button(at, "Estimate the time")


def test_a_download_that_fails_is_told_and_one_that_ends_goes_on(monkeypatch, tmp_path, open_page):
    def program(code):
        monkeypatch.setattr(download, "COMMAND", (sys.executable, "-c", code))

    def settle():
        for _ in range(6000):
            if download.progress().state != "running":
                return
            time.sleep(0.05)

    at = open_page("launch")
    at.segmented_control(key="form_dataset").set_value("cifar10")
    at.run()
    program("raise SystemExit('error: the network is down')")
    button(at, "Get CIFAR-10").click()
    at.run()
    settle()
    at.run()
    assert "The download failed: the network is down" in text(at)
    program(f"import os; os.mkdir({str(tmp_path / 'data' / 'cifar-10-batches-py')!r})")
    button(at, "Get CIFAR-10").click()
    at.run()
    settle()
    at.run()
    assert not any(b.label == "Get CIFAR-10" for b in at.button)
    assert "not here yet" not in text(at)


# --- Launch: a run --------------------------------------------------------------------------------------------


def test_a_finished_run_shows_its_curves_and_the_watched_image(open_page):
    at = open_page("launch", run=make_run().run_id)
    assert "Finished" in text(at)
    assert len(at.get("vega_lite_chart")) == 3
    at.selectbox(key="watch_image").set_value(5).run()
    at.select_slider(key="watch_epoch").set_value(0).run()
    at.segmented_control(key="watch_T").set_value(4.0).run()
    spec = json.loads(at.get("vega_lite_chart")[2].proto.spec)
    assert "after epoch 1" in spec["description"]


@pytest.mark.parametrize("forged", ["../../etc", "x" * 300, "no-such-run", "<script>", "a\x00b"])
def test_a_forged_run_in_the_url_is_a_warning_and_the_form(forged, open_page):
    at = open_page("launch", run=forged)
    assert "There is no run" in at.warning[0].value
    assert button(at, "Start training")


def test_a_failed_run_shows_message_and_log(open_page):
    run = make_run("failed")
    run.write_status("failed", "s-scratch: objective became nan in epoch 1, step 3.")
    (run.path / "log.txt").write_text("INFO started\nERROR it broke here\n")
    at = open_page("launch", run=run.run_id)
    assert "became nan" in at.error[0].value
    assert "it broke here" in text(at)
    assert button(at, "Resume")


def test_a_lost_run_can_be_resumed_and_a_refusal_is_a_sentence(monkeypatch, open_page):
    run = make_run("running")
    status = json.loads((run.path / "status.json").read_text())
    (run.path / "status.json").write_text(json.dumps(status | {"pid": 2**22 + 1}))
    at = open_page("launch", run=run.run_id)
    assert "Lost" in text(at)

    def refuse(run):
        raise runs.RunError("it is running: there is nothing to start.")

    monkeypatch.setattr(runs, "start", refuse)
    button(at, "Resume").click().run()
    assert "nothing to start" in at.error[0].value


def test_a_live_run_has_progress_and_no_discard(open_page):
    run = make_run("running", epochs=4, epoch=1, epochs_done=1, step=2, steps_per_epoch=4, seconds_left=95,
                   images_per_second=321.0)  # fmt: skip
    at = open_page("launch", run=run.run_id)
    proto = at.get("progress")[0].proto
    assert proto.value == round(100 * 6 / 16) or proto.value == int(100 * 6 / 16)
    assert "Epoch 2 of 4, about 1 min 35 s left, 321 images/s" in proto.text
    assert not any(b.label == "Yes, delete it" for b in at.button)


ODD = [None, True, -1, 10**400, 1e300, float("nan"), "9", [], {}, "![x](http://evil.example/x.png) <b>"]


@pytest.mark.parametrize("odd", ODD, ids=lambda value: repr(value)[:12])
def test_odd_values_in_a_runs_files_never_show_a_traceback(odd, open_page):
    run = make_run("running", teacher="teacher")
    facts = dict.fromkeys((*runs.COUNTS, *runs.MESSAGES), odd)
    (run.path / "status.json").write_text(json.dumps({"state": "stopped", **facts}))
    line = {"epoch": 0, "student": "s-scratch", "test": {"cross_entropy": 1.0, "accuracy": odd}, "probes": odd}
    lines = [line, line | {"epoch": odd}, line | {"student": "stranger"}, line | {"test": odd}, line | {"epoch": 99}]
    (run.path / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    keys = ("name", "accuracy", "cross_entropy", "probes", "probe_labels")
    (run.path / "teacher.json").write_text(json.dumps(dict.fromkeys(keys, odd)))
    open_page("launch", run=run.run_id)
    open_page("compare", runs=run.run_id, show="Learning curves")
    assert cli.main(["runs", "list"]) == 0
    assert cli.main(["runs", "show", run.run_id]) == 0


MARKUP = "![x](http://evil.example/x.png) [y](//evil.example) www.evil.example <img src=x> $z$ :red[w] `v`"


@pytest.mark.parametrize("name", ["run", "sweep", "teacher", "students", "image", "T", "networks", "baseline", "runs"])
def test_markup_in_a_link_is_shown_as_text(family, name, open_page):
    for where in ("launch",) if name in ("run", "sweep") else ("soft_labels", "compare"):
        shown = [warning.value for warning in open_page(where, **{name: MARKUP}).warning]
        for words in shown:
            assert not re.search(r"(?<!\\)[\[<`$]", words)
            assert "//" not in words
            assert "www." not in words


@pytest.mark.parametrize(
    "value",
    [
        *("x" * 100_000, "-1", "nan", "\0"),
        *(pytest.param(v, marks=pytest.mark.reliability) for v in ("9" * 5000, "1e999", "%00", "../..", ",,,,", " ")),
    ],
)
def test_odd_values_in_a_link_never_show_a_traceback(family, value, open_page):
    names = (
        "run",
        "sweep",
        "teacher",
        "students",
        "image",
        "T",
        "alpha",
        "networks",
        "runs",
        "baseline",
        "show",
        "source",
    )
    for where in ("soft_labels", "attention", "compare", "launch"):
        open_page(where, **dict.fromkeys(names, value))


@pytest.mark.parametrize("damage", ["config.json", "metrics.jsonl", "status.json", "teacher.json"])
def test_damaged_files_never_show_a_traceback(damage, open_page):
    run = make_run()
    (run.path / damage).write_bytes(b'{"epoch": 1, "student": "s-scratch"}\n\xff[[[')
    open_page("launch", run=run.run_id)


def test_discarding_asks_first_and_forgets_the_link(open_page):
    run = make_run()
    at = open_page("launch", run=run.run_id)
    assert "cannot be undone" in text(at)
    assert run.path.is_dir()
    button(at, "Yes, delete it").click().run()
    assert not run.path.exists()
    assert "run" not in at.query_params
    assert button(at, "Start training")


def test_runs_are_listed_and_opened(open_page):
    run = make_run(name="older")
    at = open_page("launch")
    assert run.run_id in text(at)
    at.button(key=f"open_{run.run_id}").click()
    at.run()
    assert "older" in text(at)
    assert button(at, "New experiment")


# --- Compare ----------------------------------------------------------------------------------------------------


def test_without_any_network_compare_says_what_to_do(open_page):
    assert "Train one on the page Launch" in open_page("compare").info[0].value


def test_the_table_the_answers_and_the_files(family, open_page):
    at = open_page("compare")
    frame = at.dataframe[0].value
    assert frame["name"].tolist() == ["teacher", "small-scratch", "small-response"]
    assert frame["accuracy"].tolist() == pytest.approx([110 / 1.2, 50, 80 / 1.2])
    assert "small-response is 16.67 points above its scratch twin small-scratch" in text(at)
    assert "another sum than cross-entropy" in text(at)
    assert len(at.get("download_button")) == 4  # the handout is one


def test_the_lightest_teacher_is_shown_first_and_another_family_is_one_click_away(family, make_checkpoint, open_page):
    big = make_checkpoint(family / "big", "wrn_16_2", seed=7)
    make_checkpoint(
        family / "big-told", seed=8, run="q", method="response", teacher={"name": "big", "sha256": big.sha256}
    )
    make_checkpoint(family / "big-alone", seed=9, run="q")
    at = open_page("compare")
    assert at.dataframe[0].value["name"].tolist() == ["teacher", "small-scratch", "small-response"]
    button(at, "big and its students").click()
    at.run()
    assert at.dataframe[0].value["name"].tolist() == ["big", "big-alone", "big-told"]
    assert at.selectbox(key="compare_teacher").value == "big"


def test_another_baseline_changes_the_differences(family, open_page):
    at = open_page("compare")
    before = at.dataframe[0].value["difference"].tolist()
    at.selectbox(key="compare_baseline").set_value("teacher")
    at.run()
    after = at.dataframe[0].value["difference"].tolist()
    assert before != after
    assert at.query_params["baseline"] in ("teacher", ["teacher"])


@pytest.mark.parametrize(
    "section", ["Accuracy and cost", "Learning curves", "Calibration", "Classes", "Confusion", "Disagreements"]
)
def test_every_section_draws_or_says_why_not(family, section, open_page):
    at = open_page("compare", show=section)
    if section == "Learning curves":
        assert "hold no learning curves" in text(at)
    elif section == "Disagreements":
        assert "Open image" in str([link.proto.label for link in at.get("page_link")])
    else:
        assert len(at.get("vega_lite_chart")) == (3 if section == "Confusion" else 1)


def test_learning_curves_come_from_the_cards(family, make_checkpoint, open_page):
    rows = [{"epoch": epoch, "test": {"accuracy": 0.1 + epoch / 10}, "train": {}} for epoch in range(3)]
    damaged = [{"epoch": 10**30}, {"epoch": True}, "text", {"epoch": 1, "test": {"accuracy": "high"}}]
    make_checkpoint(family / "curved", history=[*rows, *damaged])
    at = open_page("compare", show="Learning curves", networks="curved")
    (drawn,) = at.get("vega_lite_chart")
    assert "at the latest: curved 30.0%" in json.loads(drawn.proto.spec)["description"]


def test_different_images_are_refused_and_one_group_can_be_kept(family, make_checkpoint, open_page):
    make_checkpoint(family / "foreign", seed=5, data={"dataset": "synthetic", "measured_images": 2000})
    at = open_page("compare", networks="teacher,foreign")
    assert "different images" in at.error[0].value
    assert not at.dataframe
    next(b for b in at.button if b.label.startswith("Keep those on 120")).click()
    at.run()
    assert at.dataframe[0].value["name"].tolist() == ["teacher"]


def test_without_labels_the_table_comes_from_the_cards(tmp_path, make_checkpoint, open_page):
    make_checkpoint(
        tmp_path / "bundled" / "net", classes=list(data.CIFAR10_CLASSES), logits=np.zeros((10_000, 10)),
        data={"dataset": "cifar10", "measured_on": "test", "measured_images": 10_000},
    )  # fmt: skip
    at = open_page("compare", show="Calibration")
    assert "labels of these images are not here" in text(at)
    assert at.dataframe[0].value["accuracy"].tolist() == [10.0]
    assert not at.get("vega_lite_chart")


@pytest.mark.parametrize(
    "query",
    [
        {"networks": "nobody"},
        {"networks": "../../etc/passwd,teacher"},
        {"runs": "nothing"},
        {"baseline": "nobody"},
        {"show": "<script>"},
        {"teacher": "nobody"},
    ],
)
def test_forged_values_in_the_url_are_dropped(family, query, open_page):
    at = open_page("compare", **query)
    assert len(at.dataframe[0].value) == 3


def test_broken_logits_cost_only_what_needs_them(family, open_page):
    (family / "small-response" / checkpoints.LOGITS).write_bytes(b"nonsense")
    for section in ("Calibration", "Disagreements", "Confusion"):
        at = open_page("compare", show=section)
        assert len(at.dataframe[0].value) == 3


def test_curves_of_a_run_are_shown_beside_the_bundled_networks(family, open_page):
    run = make_run()
    at = open_page("compare", runs=run.run_id, show="Learning curves")
    assert len(at.get("vega_lite_chart")) == 1


def test_nothing_chosen_teaches_what_to_choose(family, open_page):
    at = open_page("compare")
    at.multiselect(key="compare_networks").set_value([])
    at.run()
    assert "Choose networks above" in text(at)


# --- Sweeps -----------------------------------------------------------------------------------------------------


@pytest.fixture
def swept(family):
    """A sweep whose results lie in its folder: two temperatures, two weights, three seeds, as its driver leaves it."""
    recipe = {"dataset": "synthetic", "teacher": "teacher", "train_images": 300, "batch_size": 50, "epochs": 2}
    made = sweep.create(sweep.configure("resnet8", recipe, temperatures=[2.0, 4.0], response_weights=[0.5, 0.7]))
    generator = np.random.default_rng(0)
    rows, right = [], {}
    for temperature, weight in ((None, 0.0), (2.0, 0.5), (2.0, 0.7), (4.0, 0.5), (4.0, 0.7)):
        for seed in range(3):
            chance = 0.9 if (temperature, weight) == (2.0, 0.7) else 0.6
            right[temperature, weight, seed] = generator.random(120) < chance
            row = dict.fromkeys(surface.MEASURES, 0.5) | {"accuracy": float(right[temperature, weight, seed].mean())}
            rows.append({"seed": seed, "temperature": temperature, "response_weight": weight} | row)
    results = surface.results(made) | {"students": rows, "measured_on": "120 test images of synthetic shapes"}
    every = surface.cells(rows, right, results["default"])
    results |= {"cells": every[1:], "scratch": every[0], "best": {"temperature": 2.0, "response_weight": 0.7}}
    (made.path / "table.json").write_text(json.dumps(results))
    made.write_status("stopped", experiments=3, finished=2, working=[], failed={})
    return made


def test_the_form_starts_a_sweep_and_shows_it(family, monkeypatch, open_page):
    monkeypatch.setattr(sweep, "start", lambda made: None)
    at = open_page("launch")
    at.selectbox(key="form_teacher").set_value("teacher")
    at.run()
    at.toggle(key="form_sweep").set_value(True)
    at.run()
    assert "13 students" in text(at)
    assert "× 3 seeds = 39 trainings" in text(at)
    assert "python -m kdexplorer sweep --student resnet8" in text(at)
    at.multiselect(key="form_sweep_temperatures").set_value([2.0])
    at.number_input(key="form_sweep_seeds").set_value(2)
    at.run()
    assert "--temperature 2 --response-weight 0.5 0.7 0.9 --seeds 2" in text(at)
    button(at, "Start the sweep").click()
    at.run()
    (made,) = sweep.list_sweeps()
    assert at.query_params["sweep"] in (made.run_id, [made.run_id])
    assert "Waiting" in text(at)


def test_a_grid_that_is_no_grid_is_told_and_cannot_start(family, open_page):
    at = open_page("launch")
    at.selectbox(key="form_teacher").set_value("teacher")
    at.toggle(key="form_sweep").set_value(True)
    at.run()
    at.multiselect(key="form_sweep_temperatures").set_value([])
    at.run()
    assert "emperatures" in text(at)
    assert button(
        at, "Start the sweep" if any(b.label == "Start the sweep" for b in at.button) else "Start training"
    ).disabled


def test_a_guest_cannot_start_a_sweep(family, monkeypatch, open_page):
    at = open_page("launch")
    at.selectbox(key="form_teacher").set_value("teacher")
    at.toggle(key="form_sweep").set_value(True)
    at.run()
    monkeypatch.setattr(presenter, "allowed", lambda *_: False)
    button(at, "Start the sweep").click()
    at.run()
    assert not sweep.list_sweeps()
    assert "presenter" in at.error[0].value


def test_a_sweep_shows_its_progress_its_surface_and_what_one_may_do(swept, open_page):
    at = open_page("launch", sweep=swept.run_id)
    assert "Stopped" in text(at)
    assert "2 of 3 experiments finished" in at.get("progress")[0].proto.text
    assert button(at, "Resume")
    assert "The best of 4 cells is T = 2 with weight 0.7" in text(at)
    assert len(at.get("vega_lite_chart")) == 2
    button(at, "Yes, delete it").click().run()
    assert not swept.path.exists()


def test_a_forged_sweep_in_the_url_is_a_warning_and_the_form(open_page):
    for forged in ("../..", "x" * 300, "nothing", "a\x00b"):
        at = open_page("launch", sweep=forged)
        assert "There is no sweep" in at.warning[0].value
        assert button(at, "Start training")


def test_compare_draws_the_surface_and_answers(swept, open_page):
    at = open_page("compare", show="Sweep")
    assert "after Holm's correction for 4 looks" in text(at)
    charts = at.get("vega_lite_chart")
    assert "T 2, weight 0.7" in json.loads(charts[0].proto.spec)["description"]
    at.segmented_control(key="surface_measure").set_value("calibration_error")
    at.run()
    assert "calibration error" in json.loads(at.get("vega_lite_chart")[0].proto.spec)["description"]
    open_page("compare", show="Sweep", sweep="nobody")
    (swept.path / "table.json").write_text('{"cells": [1]}')
    assert "There is no sweep yet" in text(open_page("compare", show="Sweep"))


def test_a_bundled_sweeps_table_is_drawn_without_its_runs(swept, family, tmp_path, open_page):
    (tmp_path / "sweeps").mkdir()
    (swept.path / "table.json").rename(tmp_path / "sweeps" / "lecture.json")
    at = open_page("compare", show="Sweep", sweep="lecture")
    assert at.selectbox(key="compare_sweep").value == "lecture"
    assert len(at.get("vega_lite_chart")) == 2
