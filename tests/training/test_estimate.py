"""The estimates of time and of memory."""

import json
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from kdexplorer.errors import RunError
from kdexplorer.networks import build, count_parameters
from kdexplorer.training import estimate
from kdexplorer.training.objective import count_kept, count_student_memory, estimate_memory
from tests.training.configs import COMBINED, SCRATCH, make_config


def test_the_program_prints_the_figures_or_one_line_that_says_what_is_wrong(tiny, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(estimate.sys, "argv", ["estimate", str(tmp_path / "config.json")])
    (tmp_path / "config.json").write_text(make_config().model_dump_json())
    assert estimate.main() == 0
    assert json.loads(capsys.readouterr().out)["seconds"] > 0
    (tmp_path / "config.json").write_text(make_config(teacher="nobody").model_dump_json())
    assert estimate.main() == 1
    assert "no checkpoint 'nobody'" in capsys.readouterr().err


def test_a_measurement_can_be_canceled():
    measurement = estimate.Measurement([make_config()], len)
    measurement.cancel()
    with pytest.raises(RunError):
        measurement.poll()


def test_runs_are_measured_one_after_the_other(monkeypatch):
    codes, began, popen = [None, 0, None, 0], [], SimpleNamespace(pid=0, poll=lambda: codes.pop(0))

    def start(command, stdout, **_):
        began.append(json.loads(Path(command[-1]).read_text())["epochs"])
        figures = {"seconds": 10.0 * began[-1], "evaluation": 1, "epoch": 1, "images_per_second": 1}
        stdout.write(json.dumps(figures).encode())
        return popen

    monkeypatch.setattr(estimate.subprocess, "Popen", start)
    monkeypatch.setattr(estimate.processes, "lower_priority", lambda pid: None)
    configs = [make_config(epochs=epochs) for epochs in (2, 3)]
    measurement = estimate.Measurement(configs, lambda found: [one.seconds for one in found], "Part {part}")
    assert (measurement.poll(), began, measurement.describe()) == (None, [2], "Part 1 … 0 s")
    assert (measurement.poll(), began, measurement.describe()) == (None, [2, 3], "Part 2 … 0 s")
    assert measurement.poll() == measurement.poll() == [20.0, 30.0]
    assert estimate.Measurement([], len).wait() == 0


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.2, "0 s"), (59.4, "59 s"), (200, "3 min 20 s"), (720, "12 min"), (7500, "2 h 5 min")]
)
def test_durations_in_words(seconds, text):
    assert estimate.format_duration(seconds) == text


def test_the_estimate_grows_with_what_fills_the_memory(teacher):
    def bytes_of(*architectures, batch_size=50, terms=(), **changes):
        students = [{"name": f"s{n}", "architecture": key, "terms": terms} for n, key in enumerate(architectures)]
        changes = {"teacher": str(teacher.path)} | changes
        return estimate_memory(make_config(*students, train_images=None, batch_size=batch_size, **changes))

    one = bytes_of("resnet8")
    # Seven float32 for each parameter; activations are those of one student at a time.
    assert bytes_of("resnet8", "resnet8") - one == 28 * count_parameters(build("resnet8"))
    more = {"optimizer": "adamw", "ema": 0.9, "learning_rate": 0.01}
    assert bytes_of("resnet8", **more) - one == 24 * count_parameters(build("resnet8"))
    assert bytes_of("resnet8", batch_size=100) > one
    assert bytes_of("resnet18") > bytes_of("resnet20") > one
    assert bytes_of("resnet8", terms=[{"method": "reviewkd"}]) > one  # its adapters, and what its loss keeps
    both = [{"name": f"w{w}", "architecture": "resnet8", "terms": [{"method": "crd", "width": w}]} for w in (64, 2)]
    first, second = (estimate_memory(make_config(*some, teacher=str(teacher.path))) for some in (both, both[::-1]))
    assert first == second


def test_a_students_memory_is_its_state_and_what_its_objective_keeps(tiny, teacher):
    students = [SCRATCH, COMBINED, {"name": "hint", "architecture": "resnet8", "terms": [{"method": "fitnets"}]}]
    found = count_student_memory(make_config(*students, teacher=str(teacher.path)))
    network = build("resnet8")
    assert found["scratch"]["state_bytes"] == found["combined"]["state_bytes"] == 12 * count_parameters(network)
    assert found["hint"]["state_bytes"] == found["scratch"]["state_bytes"] + 12 * (32 * 32 + 2 * 32)  # the regressor
    many = make_config(COMBINED, teacher=str(teacher.path), dataset="cifar100", train_images=None, batch_size=50)
    assert count_student_memory(many)["combined"]["state_bytes"] == 12 * count_parameters(build("resnet8", 100))
    with count_kept(network.parameters()) as storages:
        logits = network(torch.zeros(5, 3, 32, 32).contiguous(memory_format=torch.channels_last))
    del logits
    kept, images = sum(storages.values()), 5 * 3 * 32 * 32 * 4
    assert found["scratch"]["kept_bytes"] == pytest.approx(kept - images, rel=2e-3)
    assert found["scratch"]["kept_bytes"] < found["combined"]["kept_bytes"]


def test_the_whole_is_the_sum_of_its_parts_with_steps_timed_at_each_resolution(tiny, monkeypatch):
    monkeypatch.setattr(estimate.processes, "age", lambda: 7.0)
    seconds = {0: 1.0, 2: 2.0, 3: 4.0}  # the first epochs at 16, at 24 and at 32 pixels a side
    monkeypatch.setattr(estimate, "_time_steps", lambda _, epoch: (seconds[epoch], 10 * seconds[epoch]))
    figures = estimate.measure(make_config(epochs=5, start_resolution=16))
    steps = [1.0, 1.0, 2.0, 4.0, 4.0]
    assert figures.images_per_second == pytest.approx(5 * 5 / sum(steps))
    beyond = figures.seconds - 7.0 - 6 * sum(steps) - 6 * figures.evaluation
    assert beyond == pytest.approx(10 * sum(seconds.values()))  # each size is compiled for once
