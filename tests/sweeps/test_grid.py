"""What a sweep consists of, how it is stored and found again, and how it is packed into experiments."""

import json
import shlex

import numpy as np
import pytest
import torch

from kdexplorer.cli.main import main
from kdexplorer.errors import ConfigError, RunError
from kdexplorer.methods.kd import kd_loss
from kdexplorer.notation import parse_student
from kdexplorer.runs import launch
from kdexplorer.runs.checkpoints import find_checkpoint
from kdexplorer.runs.run_folder import list_runs
from kdexplorer.sweeps import folder, grid
from kdexplorer.sweeps.report import to_markdown
from kdexplorer.training import estimate
from tests.sweeps.sample import make_results


def test_a_sweep_is_its_references_and_its_grid(recipe):
    config = grid.configure("resnet8", recipe, temperatures=[1.0, 4.0], weights=[0.7, 1.0])
    scratch, default, *_, last = students = config.students()
    names = [student.name for student in students]
    assert names == ["resnet8-scratch", "resnet8-T4-w0.7", "resnet8-T1-w0.7", "resnet8-T1-w1", "resnet8-T4-w1"]
    assert (scratch.ce_weight, scratch.terms) == (1.0, ())
    assert (default.objective, last.ce_weight) == (parse_student("resnet8:response").objective, 0.0)
    assert [(term.temperature, term.weight) for term in last.terms] == [(4.0, 1.0)]
    points = [(point.temperature, point.weight) for point in map(grid.point_of, students)]
    assert points == [(None, 0), (4, 0.7), (1, 0.7), (1, 1), (4, 1)]
    assert grid.point_of(default) == grid.DEFAULT_POINT


@pytest.mark.parametrize(
    ("student", "changes", "values", "message"),
    [
        ("resnet9", {}, {}, "resnet9"),
        ("resnet8", {"teacher": None}, {}, "teacher"),
        ("resnet8", {"epochs": 0}, {}, "epochs"),
        ("resnet8", {}, {"temperatures": [2.0, 2.0]}, "twice"),
        ("resnet8", {}, {"temperatures": []}, "temperatures"),
        ("resnet8", {}, {"weights": [1.5]}, "weights"),
        ("resnet8", {}, {"temperatures": [1 + number / 100 for number in range(33)]}, "temperatures"),
        ("resnet8", {}, {"weights": [number / 600 for number in range(1, 600)]}, "weights"),
        ("resnet8", {}, {"seeds": 0}, "seeds"),
    ],
)
def test_an_invalid_sweep_is_refused_with_its_field(recipe, student, changes, values, message):
    with pytest.raises(ConfigError, match=message):
        grid.configure(student, recipe | changes, **values)


def test_the_same_configuration_is_the_same_sweep_and_another_is_not(small, recipe):
    first = folder.create(small)
    assert folder.create(small) == first
    assert [sweep.run_id for sweep in folder.list_sweeps()] == [first.run_id]
    assert first.config() == small
    other = folder.create(grid.configure("resnet8", recipe | {"epochs": 2}, seeds=2))
    assert other.run_id != first.run_id
    assert folder.find_sweep(first.run_id) == folder.find_sweep(str(first.path)) == first
    assert folder.find_sweep("nothing") is None
    assert not list_runs()  # sweeps are not among the runs


@pytest.mark.parametrize("damage", ["[]", "{}", '{"recipe": 3}', '{"recipe": {"students": [1]}, "temperatures": 2}'])
def test_a_damaged_configuration_is_an_error_that_names_the_sweep(small, damage):
    sweep = folder.create(small)
    (sweep.path / "config.json").write_text(damage)
    with pytest.raises(ConfigError, match=sweep.run_id):
        sweep.config()
    (sweep.path / "experiments.json").write_text(damage)
    with pytest.raises(ConfigError):
        sweep.experiments()
    sweep.write_status("stopped")
    assert sweep.status().state == "damaged"
    assert sweep.results() is None


def test_experiments_that_are_not_of_this_sweep_are_refused(small, runs_root):
    sweep = folder.create(small)
    folder.prepare(sweep)
    sweep.write_status("stopped")
    path = sweep.path / "experiments.json"
    packed, before = json.loads(path.read_text()), {one.name for one in runs_root.iterdir()}
    first = packed["experiments"][0]
    for change in ({"run": "../../x"}, {"run": "20260101-000000-other"}, {"students": ["nobody"]}, {"students": 3}):
        path.write_text(json.dumps({"experiments": [first | change, *packed["experiments"][1:]]}))
        for read in (sweep.experiments, sweep.runs, lambda: folder.prepare(sweep)):
            with pytest.raises(ConfigError, match=r"experiments\.json"):
                read()
        assert "experiments.json" in sweep.status().message
        with pytest.raises(RunError, match=r"damaged: .*experiments\.json"):
            launch.start_run(sweep)
    assert {one.name for one in runs_root.iterdir()} <= before | {"sweeps"}
    path.write_text(json.dumps(packed))
    changed = small.model_copy(update={"temperatures": [3.0]})
    (sweep.path / "config.json").write_text(changed.model_dump_json())
    with pytest.raises(ConfigError, match=r"config\.json was changed"):
        folder.prepare(sweep)


def test_the_command_names_everything_that_differs(recipe):
    config = grid.configure(
        "resnet8",
        recipe | {"name": "mine", "seed": 5, "compile": True},
        temperatures=[1.5, 20.0],
        weights=[0.25],
        seeds=4,
        students_per_experiment=3,
        memory_gib=2.5,
    )
    command = grid.sweep_command(config)
    for part in (
        "kdexplorer sweep --student resnet8 ", "--name mine", "--seed 5", "--compile", "--temperature 1.5 20 ",
        "--weight 0.25 ", "--seeds 4", "--students-per-experiment 3", "--memory 2.5",
    ):  # fmt: skip
        assert part in command
    assert "--students-per-experiment" not in grid.sweep_command(grid.configure("resnet8", recipe))


def test_the_command_starts_the_same_sweep(recipe, capsys, monkeypatch):
    config = grid.configure(
        "resnet8", recipe | {"name": "mine", "compile": True}, temperatures=[1.5, 20.0], weights=[0.25], memory_gib=2.5
    )
    monkeypatch.setattr(folder, "start_sweep", lambda sweep: None)
    assert main([*shlex.split(grid.sweep_command(config))[3:], "--detach", "--yes", "--quiet"]) == 0
    assert folder.find_sweep(capsys.readouterr().out.strip()).config() == config


# --- The gradient's size ---


@pytest.fixture
def with_logits(recipe, tmp_path, make_checkpoint):
    """A recipe whose teacher has stored logits."""
    logits = np.random.default_rng(0).normal(0, 3, (50, 10))
    return recipe | {"teacher": str(make_checkpoint(tmp_path / "known", seed=9, logits=logits).path)}


def start_gradient(term, teacher):
    """The mean over images of the L1 norm of a term's weighted gradient on logits of zero, by autograd."""
    logits = torch.zeros(teacher.shape, dtype=torch.float64, requires_grad=True)
    (term.weight * kd_loss(logits, torch.tensor(teacher, dtype=torch.float64), term.temperature)).backward()
    return float(logits.grad.abs().sum())


def test_the_gradients_size_can_be_held_instead_of_the_weight(with_logits):
    teacher = find_checkpoint(with_logits["teacher"]).logits()
    values = {"temperatures": [1.0, 4.0, 16.0], "weights": [0.5, 0.9]}
    held, plain = (grid.configure("resnet8", with_logits, hold=hold, **values) for hold in ("gradient", "weight"))
    assert plain.weight_factors == {}
    assert held.weight_factors.keys() == {1.0, 4.0, 16.0}
    assert held.weight_factors[4.0] == 1
    default = plain.students()[1].terms[0]
    for student, other in zip(held.students()[1:], plain.students()[1:], strict=True):
        point = grid.point_of(student)
        assert (point, student.ce_weight, student.name) == (grid.point_of(other), other.ce_weight, other.name)
        expected = point.weight / default.weight * start_gradient(default, teacher)
        assert start_gradient(student.terms[0], teacher) == pytest.approx(expected, rel=1e-5)
    sizes = [start_gradient(other.terms[0], teacher) for other in plain.students()[2::2]]
    assert max(sizes) > 1.5 * min(sizes)  # what is held when it is not asked for


def test_a_sweep_that_holds_the_gradient_is_found_again_and_repeated_by_its_command(with_logits, capsys, monkeypatch):
    held = grid.configure("resnet8", with_logits, hold="gradient", temperatures=[1.0], weights=[0.5])
    plain = grid.configure("resnet8", with_logits, temperatures=[1.0], weights=[0.5])
    first = folder.create(held)
    assert first.config() == held
    assert folder.create(plain) != first
    monkeypatch.setattr(folder, "start_sweep", lambda sweep: None)
    assert main([*shlex.split(grid.sweep_command(held))[3:], "--detach", "--yes", "--quiet"]) == 0
    assert capsys.readouterr().out.strip() == first.run_id


def test_the_factors_are_stated(with_logits):
    held = grid.configure("resnet8", with_logits, hold="gradient", temperatures=[1.0], weights=[0.5])
    words = grid.describe_factors(held.weight_factors)
    assert f"{held.weight_factors[1.0]:.3g} at T = 1" in words
    assert grid.describe_factors({}) == ""
    results, _ = make_results((0.5, 0.6, 0.9, 0.6))
    assert words not in to_markdown(results)
    assert words in to_markdown(results.model_copy(update={"weight_factors": held.weight_factors}))


def test_the_gradient_cannot_be_held_without_the_teachers_logits_or_a_factor(recipe, with_logits):
    with pytest.raises(ConfigError, match="no stored logits"):
        grid.configure("resnet8", recipe, hold="gradient")
    with pytest.raises(ConfigError, match="no factor"):
        grid.configure("resnet8", with_logits, temperatures=[2.0], weight_factors={4.0: 1.0})


# --- Packing ---


def test_students_of_one_seed_share_an_experiment_while_memory_lasts(recipe, monkeypatch):
    monkeypatch.setattr(estimate, "free_memory", lambda device: 2**30)
    monkeypatch.setattr(estimate, "estimate_memory", lambda config, elsewhere: 2**28 * len(config.students))
    config = grid.configure("resnet8", recipe, temperatures=[1.0, 2.0], weights=[0.3, 0.5], seeds=2)
    packed = folder.pack(config, "id")  # six students for each seed, of which four fit: three and three
    assert [(one.seed, len(one.students)) for one in packed] == [(0, 3), (0, 3), (1, 3), (1, 3)]
    assert [one.run for one in packed] == ["id-1", "id-2", "id-3", "id-4"]
    for seed in (0, 1):
        names = [name for one in packed if one.seed == seed for name in one.students]
        assert names == [student.name for student in config.students()]
    assert len(folder.pack(config.model_copy(update={"memory_gib": 64.0}), "id")) == 2
    assert len(folder.pack(config.model_copy(update={"memory_gib": 0.001}), "id")) == 12  # one each, never none


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without a GPU")
def test_a_cluster_is_driven_from_a_machine_without_its_devices(recipe):
    config = grid.configure(
        "resnet8", recipe | {"device": "cuda", "threads": 2}, temperatures=[2.0], weights=[0.5], seeds=1
    )
    with pytest.raises(ConfigError):
        folder.pack(config, "id")
    assert [len(one.students) for one in folder.pack(config, "id", elsewhere=True)] == [3]
