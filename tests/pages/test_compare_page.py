"""Compare without a browser: the choice, the table, every section, sweeps."""

import json

import numpy as np
import pytest

from kdexplorer.analysis import metrics, results
from kdexplorer.analysis.measures import MEASURES
from kdexplorer.app.compare import sections
from kdexplorer.app.layout import as_text
from kdexplorer.datasets import get_dataset
from kdexplorer.files import write_json
from kdexplorer.networks import STORED
from kdexplorer.runs.checkpoints import CARD, LOGITS, find_checkpoint
from kdexplorer.runs.run_folder import imported_root
from kdexplorer.studies.experiments import lab_claims
from kdexplorer.studies.report import describe_study
from kdexplorer.studies.table import summarize
from tests.pages.reading import button, link_labels, open_popover, results_table, specs, text, turn_to
from tests.pages.runs import CIFAR10, CIFAR10_CARD, make_run
from tests.studies.sample import make_table


def names(at):
    """The networks of the table."""
    return results_table(at)["name"].tolist()


def test_the_table_and_its_files_with_latencies_on_request(evaluated, monkeypatch, open_page):
    monkeypatch.setattr(sections, "latency", lambda architecture: 0.002)
    at = open_page("compare")
    table = results_table(at)
    assert names(at) == ["teacher", "small-scratch", "small-response"]
    assert table["accuracy"].tolist() == pytest.approx([110 / 1.2, 50, 80 / 1.2])
    assert table["method"].tolist() == ["teacher", "scratch", "KD"]
    assert table["to_baseline"].tolist()[2] == pytest.approx(20 / 1.2)
    assert table["p"].tolist()[2] == "< 0.0001"  # 20 of 20 in favor
    assert set(table.columns) <= MEASURES.keys()
    assert table["latency"].isna().all()
    assert "16.67 percentage points" in text(at)  # the verdicts are about the table
    assert len(open_popover(at, "handout_offer").get("download_button")) == 5  # the handout is one, a network another
    at.button(key="latency").click().run()
    assert results_table(at)["latency"].tolist() == pytest.approx([2, 2, 2])
    at.selectbox(key="baseline").set_value("teacher").run()
    assert results_table(at)["to_baseline"].tolist()[2] == pytest.approx(-30 / 1.2)
    at.multiselect(key="networks").set_value([]).run()
    assert "Change networks" in at.info[0].value
    assert not at.dataframe


def test_sections_are_drawn_and_damaged_logits_cost_only_what_needs_them(evaluated, open_page):
    for section in ("Accuracy and cost", "Classes", "Confusion", "Error inheritance"):  # the others are in other tests
        at = open_page("compare", show=section)
        assert len(specs(at)) == 1
    assert "small-response repeats" in text(at)
    alone = open_page("compare", show="Error inheritance", networks="teacher")
    assert "Choose a distilled student" in alone.info[0].value
    assert lab_claims.EXPERIMENT.question in text(open_page("compare", show="The lab's claims"))
    at = open_page("compare", show="Calibration")
    assert "after temperature scaling, fitted on the other folds" in text(at)
    (before,) = specs(at)
    at.toggle(key="scaled").set_value(True).run()
    (after,) = specs(at)
    assert "after temperature scaling" in after["description"]
    assert after["description"].split(": ")[1] != before["description"].split(": ")[1]
    (evaluated / "small-response" / LOGITS).write_bytes(b"nonsense")
    assert len(names(open_page("compare", show="Confusion"))) == 3


def test_learning_curves_come_from_the_cards_and_from_runs(evaluated, make_checkpoint, open_page):
    rows = [{"epoch": epoch, "test": {"accuracy": 0.1 + epoch / 10}, "train": {}} for epoch in range(3)]
    make_checkpoint(evaluated / "curved", history=rows, epochs=3)
    (spec,) = specs(open_page("compare", show="Learning curves", networks="curved"))
    assert "curved 30 %" in spec["description"]
    assert "from epoch" not in str(spec["params"])
    make_checkpoint(evaluated / "continued", legs=[{"epochs": 5}, {"epochs": 3, "history": rows}])
    (spec,) = specs(open_page("compare", show="Learning curves", networks="continued"))
    assert "continued from epoch 6" in str(spec["params"])
    assert not specs(open_page("compare", show="Learning curves", networks="small-scratch"))
    runs = [make_run().run_id for _ in range(2)]  # of one name
    at = open_page("compare", runs=runs, show="Learning curves")
    assert all(f"s-scratch ({run_id})" in specs(at)[0]["description"] for run_id in runs)
    for page in ("overview", "compare"):
        at.query_params.clear()
        turn_to(at, page)
    assert at.multiselect(key="runs").value == runs


def test_networks_of_different_images_are_refused_and_one_group_can_be_kept(evaluated, make_checkpoint, open_page):
    make_checkpoint(evaluated / "other", seed=5, data={"dataset": "synthetic", "evaluation_images": 2000})
    at = open_page("compare", networks="teacher,other")
    assert "different images" in at.error[0].value
    assert not at.dataframe
    next(one for one in at.button if one.label.startswith("Keep those on 120")).click().run()
    assert names(at) == ["teacher"]


def test_the_bundled_labels_give_every_column_and_disagreements_on_the_images_that_are_available(family, open_page):
    at = open_page("compare", show="Disagreements")
    row = results_table(at).set_index("name").loc["small-response"]
    assert row[["calibration_error", "to_baseline", "p", "interval", "teacher_agreement", "teacher_kl"]].notna().all()
    assert not any("labels" in info.value for info in at.info)
    labels = [label for label in link_labels(at) if label.startswith("Open image")]
    assert labels
    assert not specs(at)
    assert all(int(label.split()[2]) < 2_000 for label in labels)
    assert "among the first 2,000 test images" in text(at)


def test_without_labels_the_table_comes_from_the_cards(own, make_checkpoint, monkeypatch, open_page):
    monkeypatch.setattr(type(CIFAR10), "test_labels", lambda self, root=None: None)
    make_checkpoint(own / "net", logits=np.zeros((10_000, 10)), **CIFAR10_CARD)
    at = open_page("compare", show="Calibration")
    assert results_table(at)["accuracy"].tolist() == [10.0]
    assert any("Download CIFAR-10" in info.value for info in at.info)
    assert not specs(at)
    none = CIFAR10.gallery().take(np.empty(0, int))
    monkeypatch.setattr(CIFAR10, "gallery", lambda: none)
    make_checkpoint(own / "teacher", logits=np.ones((10_000, 10)), **CIFAR10_CARD)
    at = open_popover(open_page("compare", show="Disagreements", networks="net,teacher"), "handout_offer")
    assert len([one for one in at.info if "Download CIFAR-10" in one.value]) == 2  # no image, and no handout


@pytest.mark.parametrize("facts", [{"evaluation_split": "holdout"}, {"dataset": "elsewhere"}])
def test_networks_of_other_images_than_a_test_split_have_no_images_of_it(own, make_checkpoint, facts, open_page):
    for seed, name in enumerate(("one", "two")):
        logits = np.random.default_rng(seed).normal(0, 3, (500, 10))
        make_checkpoint(own / name, logits=logits, classes=CIFAR10.classes, data=facts | {"evaluation_images": 500})
    at = open_page("compare", show="Disagreements")
    assert not [label for label in link_labels(at) if label.startswith("Open image")]
    assert len([one for one in at.info if "these networks were evaluated on 500" in one.value]) == 2
    assert not any("Download" in info.value for info in at.info)
    assert "evaluated on 500" in open_page("compare", show="Calibration").info[0].value


def test_a_teacher_of_stored_logits_is_no_network_to_take_away(evaluated, open_page):
    card = evaluated / "teacher" / CARD
    card.write_text(card.read_text().replace('"resnet20"', f'"{STORED.key}"'))
    at = open_page("compare")
    assert names(at) == ["teacher", "small-scratch", "small-response"]
    assert at.selectbox(key="take_network").options == ["small-scratch", "small-response"]
    assert "take_network" not in [one.key for one in open_page("compare", networks="teacher").selectbox]


def test_a_bundled_teacher_is_a_reference_for_students_that_were_evaluated_on_the_subset(make_checkpoint, open_page):
    small = get_dataset("cifar10-small")
    data = {"dataset": small.key, "evaluation_images": 2000}
    for seed, name in enumerate(("mine", "other")):
        logits = np.random.default_rng(seed).normal(0, 3, (2000, 10))
        make_checkpoint(imported_root() / name, logits=logits, classes=small.classes, data=data)
    student, teacher = find_checkpoint("imported/mine"), find_checkpoint("resnet56")
    assert results.is_evaluated_on(teacher, student)
    assert not results.is_evaluated_on(student, teacher)
    at = open_page("compare", networks="imported/mine,imported/other", teacher="resnet56")
    assert not at.error
    assert names(at) == ["mine", "other"]
    expected = 100 * metrics.accuracy(student.logits(), teacher.logits()[:2000].argmax(axis=1))
    assert results_table(at)["teacher_agreement"].tolist()[0] == pytest.approx(expected, abs=0.01)


def test_a_sweep_shows_its_progress_and_controls_and_its_results_with_its_folder_and_without(
    swept, tmp_path, monkeypatch, open_page
):
    launch = open_page("launch", sweep=swept.run_id)
    assert "Stopped" in text(launch)
    assert "2 of 3 runs finished" in launch.get("progress")[0].proto.text
    assert button(launch, "Resume")
    assert "T 2 with weight 0.7" in text(launch)
    assert len(specs(launch)) == 2
    at = open_page("compare", show="Sweep")
    assert "after Holm's correction for 3 comparisons" in text(at)
    assert "T 2, weight 0.7" in specs(at)[0]["description"]
    at.segmented_control(key="surface").set_value("calibration_error").run()
    assert "calibration error" in specs(at)[0]["description"]
    assert specs(open_page("compare", show="Sweep", sweep="nobody"))
    (tmp_path / "studies").mkdir()
    table = (swept.path / "table.json").read_text().replace('"synthetic"', '"folder:/home/ann lee/own photos"')
    (tmp_path / "studies" / "lecture.json").write_text(table)  # as a bundled one, without its runs
    button(launch, "Yes, delete").click().run()
    assert not swept.path.exists()
    files = {}
    monkeypatch.setattr("kdexplorer.app.server.access.is_presenter", lambda: False)
    monkeypatch.setattr("kdexplorer.app.parts.downloads.show_files", files.__setitem__)
    at = open_page("compare", show="Sweep", sweep="lecture")
    assert at.selectbox(key="sweep").value == "lecture"
    assert len(specs(at)) == 2
    shown = (text(at), files["lecture"]["json"], files["lecture"]["md"])  # to a visitor
    assert all("own photos" in one and "/home" not in one for one in shown)
    bits = [[row["right"] for row in json.loads(one)["rows"]] for one in (table, files["lecture"]["json"])]
    assert bits[0] == bits[1]


def test_the_league_is_drawn_against_each_reference(evaluated, open_page):
    at = open_page("compare", show="League")
    assert "python -m kdexplorer study" in text(at)
    assert not specs(at)
    table = make_table()
    folder = evaluated.parent / "studies"
    folder.mkdir()
    write_json(folder / "league-sample.json", table.model_dump(mode="json"))
    at = open_page("compare", show="League")
    assert as_text(describe_study(table, summarize(table))) in text(at)
    assert as_text("Above scratch by more than chance: 1 of 2 entries; below it: 0; undecided: 1.") in text(at)
    (spec,) = specs(at)
    assert "KD, response +2.00; AT, feature +0.12" in spec["description"]
    assert next(one.value for one in at.dataframe if "Entry" in one.value)["Entry"].tolist() == ["KD", "AT", "scratch"]
    at.segmented_control(key="reference").set_value("kd").run()
    assert "scratch -2.00" in specs(at)[0]["description"]
    write_json(folder / "league-other.json", make_table(seeds=3).model_dump(mode="json"))
    assert "cannot be decided" in text(open_page("compare", show="League", league="league-other"))
    write_json(folder / "lab-resnet18.json", table.model_dump(mode="json"))
    write_json(folder / "league-resnet8.json", table.model_dump(mode="json"))
    at = open_page("compare", show="League")
    assert at.selectbox(key="league").value == "league-resnet8"  # all methods stand first
