"""What a study consists of, how a grid makes it, how it is found again, and how it is packed into runs."""

import contextlib
import json

import numpy as np
import pytest
import torch

from kdexplorer.datasets import get_dataset
from kdexplorer.errors import ConfigError, RunError
from kdexplorer.methods import all_methods
from kdexplorer.methods.kd import kd_loss
from kdexplorer.notation import parse_student
from kdexplorer.runs import launch
from kdexplorer.runs.run_folder import list_runs
from kdexplorer.schema import RECORDED
from kdexplorer.studies.folder import StudyConfig, find_study, list_sweeps, open_study, settle
from kdexplorer.studies.report import to_markdown
from kdexplorer.studies.study import DEFAULT_PLACE, Study, bundled_studies, make_grid_study, read_study
from kdexplorer.studies.table import Row, begin_table, write_table
from kdexplorer.training import objective
from tests.datasets.test_folder import read, write
from tests.studies.sample import make_grid, table_of


def test_a_grid_makes_its_references_and_its_cells(recipe):
    study = make_grid_study("resnet8", recipe, temperatures=[1.0, 4.0], weights=[0.7, 1.0])
    scratch, default, *_, last = students = list(study.students.values())
    names = ["resnet8-scratch", "resnet8-T4-w0.7", "resnet8-T1-w0.7", "resnet8-T1-w1", "resnet8-T4-w1"]
    assert [student.name for student in students] == list(study.entries) == names
    assert (scratch.ce_weight, scratch.terms) == (1.0, ())
    assert (default.objective, last.ce_weight) == (parse_student("resnet8:response").objective, 0.0)
    assert [(term.temperature, term.weight) for term in last.terms] == [(4.0, 1.0)]
    assert list(study.places().values()) == [(4, 0.7), (1, 0.7), (1, 1), (4, 1)]
    assert study.places()[study.references[0]] == DEFAULT_PLACE
    assert study.seeds == [0, 1, 2]
    again = make_grid_study("resnet8", recipe, temperatures=[1.0, 4.0, 4], weights=[0.7, 1.0])
    assert again.study_id == study.study_id  # a value that is given twice counts once
    for wrong, message in (({"seeds": 0}, "seeds"), ({"hold": "gradient"}, "no stored logits")):
        with pytest.raises(ConfigError, match=message):
            make_grid_study("resnet8", recipe, **wrong)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("[3, 5]", "[3, 3]", "twice"),
        ("[3, 5]", "[3, -1]", "seeds.1: should be greater"),
        ('"plain-kd"]', '"other"]', "other is no entry"),
        ("epochs = 1", "seed = 1", "seed is no setting"),
        ("epochs = 1", "epoch = 1", "epoch"),
        ("version = 2", "version = = 2", "cannot be read"),
        ("version = 2", "version = 2\npairs.x.teacher = 'resnet56'", "pairs.x.student: Field required"),
        ("[recipe]", "[grid]\nstudent = 'resnet8'\n[recipe]", "not those of the grid"),
    ],
)
def test_a_declaration_that_cannot_be_run_is_refused_with_the_reason(declared, old, new, message):
    study, text = read_study(declared), declared.read_text()
    assert study.config(5, ["plain-kd"]).seed == 5
    assert Study.model_validate(json.loads(study.model_dump_json())).sha256 == study.sha256
    declared.write_text("# a comment changes nothing\n" + text)
    assert read_study(declared).sha256 == study.sha256
    declared.write_text(text.replace(old, new))
    with pytest.raises(ConfigError, match=message):
        read_study(declared, *(("x", "resnet56") if "pairs" in new else ()))


def test_the_results_of_a_method_that_is_not_installed_are_shown(declared, command):
    declared.write_text(declared.read_text().replace("resnet8:kd:T=4", "resnet8:gone:power=2"))
    study = read_study(declared, recorded=True)
    measures = {"accuracy": 0.5, "cross_entropy": 1.0}
    rows = [Row(entry=name, seed=seed, measures=measures) for name in study.entries for seed in study.seeds]
    write_table(table_of(study, rows, teacher=""), declared.with_suffix(".json"))
    assert "| plain-kd | gone | 2 | 50.00 " in command("study", str(declared), "--show").out
    folder = open_study(StudyConfig.model_validate({"study": study}, context=RECORDED))
    assert folder.config().study == study
    assert "unknown preset or method 'gone'" in command("study", str(declared), "--yes", code=2).err


def test_a_study_of_a_folder_whose_images_were_replaced_is_not_continued(tmp_path):
    write(tmp_path / "shapes")
    study = make_grid_study("resnet8", {"teacher": "resnet56", "dataset": read(tmp_path / "shapes").key}, 2)
    rows = [Row(entry=study.references[0], measures={"accuracy": 0.5})]
    for label in (get_dataset(study.shared.dataset).label, "shapes (000000)"):
        write_table(table_of(study, rows, teacher="", evaluated_on=f"6 test images of {label}"), tmp_path / "a.json")
        with pytest.raises(ConfigError, match="other images") if "000" in label else contextlib.nullcontext():
            begin_table(study, tmp_path / "a.json")


def test_the_bundled_declaration_has_every_method():
    study = read_study(bundled_studies() / "league-resnet8.toml")
    assert len(study.seeds) == 5
    used = {term.method for student in study.students.values() for term in student.terms}
    assert used == {method.key for method in all_methods() if method.key != "altered_kd"}


def test_the_same_study_has_the_same_folder_and_another_does_not(small, recipe):
    first = open_study(small)
    assert open_study(small) == first
    assert first.config() == small
    other = open_study(StudyConfig(study=make_grid_study("resnet8", recipe | {"epochs": 2}, 2)))
    assert {one.run_id for one in list_sweeps()} == {first.run_id, other.run_id}
    assert find_study(first.run_id) == find_study(str(first.path)) == first
    assert find_study("nothing") is None
    assert not list_runs()  # studies are not among the runs
    changed = small.model_copy(update={"seeds": 1, "students_per_run": 64})
    assert open_study(changed).config() == small.model_copy(update={"seeds": 1})  # what a run has is kept


@pytest.mark.parametrize("damage", ["[]", "{}", '{"study": {"entries": [1]}, "seeds": 2}', "another study"])
def test_a_damaged_configuration_is_named_and_nothing_starts(small, recipe, damage, runs_root):
    """Another study's is damaged, too, so that a study trains only in runs of its own id."""
    study, other = open_study(small), make_grid_study("resnet8", recipe, 5)
    another = small.model_copy(update={"study": other}).model_dump_json()
    (study.path / "config.json").write_text(another if damage == "another study" else damage)
    with pytest.raises(ConfigError, match=study.run_id):
        study.config()
    study.write_status("stopped")
    with pytest.raises(RunError, match="is damaged: "):
        launch.start_run(study)
    assert {one.name for one in runs_root.iterdir()} == {"studies"}
    assert open_study(small).status().state == "stopped"  # what it was is known


def start_gradient(term, teacher):
    """The mean over images of the L1 norm of a term's weighted gradient on logits of zero, by autograd."""
    logits = torch.zeros(teacher.shape, dtype=torch.float64, requires_grad=True)
    (term.weight * kd_loss(logits, torch.tensor(teacher, dtype=torch.float64), term.temperature)).backward()
    return float(logits.grad.abs().sum())


def test_the_gradients_size_can_be_held_instead_of_the_weight(recipe, tmp_path, make_checkpoint):
    known = make_checkpoint(tmp_path / "known", seed=9, logits=np.random.default_rng(0).normal(0, 3, (50, 10)))
    recipe["teacher"], teacher = str(known.path), known.logits()
    values = {"temperatures": [1.0, 4.0, 16.0], "weights": [0.5, 0.9]}
    held, plain = (make_grid_study("resnet8", recipe, hold=hold, **values) for hold in ("gradient", "weight"))
    assert plain.describe_factors() == ""
    assert ", 1 at T = 4, " in held.describe_factors()
    assert "--hold gradient" in held.grid_command()
    assert held.places() == plain.places()
    default = plain.students[plain.references[0]].terms[0]
    for name, place in held.places().items():
        expected = place.weight / default.weight * start_gradient(default, teacher)
        assert start_gradient(held.students[name].terms[0], teacher) == pytest.approx(expected, rel=1e-5)
        assert held.students[name].ce_weight == plain.students[name].ce_weight
    sizes = [start_gradient(one.terms[0], teacher) for one in list(plain.students.values())[2::2]]
    assert max(sizes) > 1.5 * min(sizes)  # what is held when it is not asked for
    table = make_grid((0.5, 0.6, 0.9, 0.6))[0]
    study = make_grid_study("resnet8", recipe, hold="gradient", temperatures=[1.0, 2.0], weights=[0.7])
    assert study.describe_factors() in to_markdown(table.model_copy(update={"study": study}))


def test_students_of_one_seed_share_a_run_while_memory_lasts(recipe, monkeypatch):
    monkeypatch.setattr(objective, "free_memory", lambda device: 2**30)
    monkeypatch.setattr(objective, "estimate_memory", lambda config, elsewhere: 2**28 * len(config.students))
    study = make_grid_study("resnet8", recipe, 2, temperatures=[1.0, 2.0], weights=[0.3, 0.5])
    config, names = StudyConfig(study=study), tuple(study.entries)
    packed = [(one.run, one.entries) for one in settle(config).runs()]  # six for each seed, four fit: three and three
    ids = [study.run_id(0), f"{study.run_id(0)}-2", study.run_id(1), f"{study.run_id(1)}-2"]
    assert packed == list(zip(ids, 2 * [names[:3], names[3:]], strict=True))
    assert len(settle(config.model_copy(update={"memory_gib": 64.0})).runs()) == 2
    assert len(settle(config.model_copy(update={"memory_gib": 0.001})).runs()) == 12  # one each, never none
    open_study(settle(config.model_copy(update={"students_per_run": 2})))
    assert settle(config).students_per_run == 2  # as its runs have begun


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without a GPU")
def test_a_cluster_is_driven_from_a_machine_without_its_devices(recipe):
    study = make_grid_study("resnet8", recipe | {"device": "cuda", "threads": 2}, 1, temperatures=[2.0], weights=[0.5])
    with pytest.raises(ConfigError):
        settle(StudyConfig(study=study))
    assert [len(one.entries) for one in settle(StudyConfig(study=study), elsewhere=True).runs()] == [3]


def test_a_pair_of_a_declaration_has_its_own_students_teacher_and_table(make_checkpoint, tmp_path):
    path = bundled_studies() / "cifar100-pairs.toml"
    with pytest.raises(ConfigError, match=r"--pair \(wrn_40_2-wrn_16_2, .*vgg13-vgg8"):
        read_study(path)
    make_checkpoint(tmp_path / "vgg13", "vgg13")
    make_checkpoint(tmp_path / "small", "resnet8")
    with pytest.raises(ConfigError, match="needs a vgg13, not a resnet8"):
        read_study(path, "vgg13-vgg8", str(tmp_path / "small"))
    study = read_study(path, "vgg13-vgg8", str(tmp_path / "vgg13"))
    assert (study.name, study.architecture) == ("cifar100-vgg13-vgg8", "vgg8")
    assert study.shared.teacher == str(tmp_path / "vgg13")
    with pytest.raises(ConfigError, match="leave out --pair"):
        read_study(bundled_studies() / "league-resnet8.toml", "vgg13-vgg8")
