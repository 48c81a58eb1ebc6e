"""The estimate of a run's memory."""

import pytest
import torch

from kdexplorer.config import RunConfig
from kdexplorer.networks import build
from kdexplorer.networks.cost import count_parameters
from kdexplorer.training import memory
from tests.training.configs import COMBINED, SCRATCH, make_config


def test_the_estimate_grows_with_what_fills_the_memory(teacher):
    def estimate(*architectures, batch_size=50):
        students = [{"name": f"s{number}", "architecture": key} for number, key in enumerate(architectures)]
        config = RunConfig(
            dataset="synthetic",
            teacher=str(teacher.path),
            students=students,
            batch_size=batch_size,
            precision="float32",
            device="cpu",
        )
        return memory.estimate_memory(config)

    one = estimate("resnet8")
    # Seven float32 for each parameter; activations are those of one student at a time.
    assert estimate("resnet8", "resnet8") - one == 28 * count_parameters(build("resnet8"))
    assert estimate("resnet8", batch_size=100) > one
    assert estimate("resnet18") > estimate("resnet20") > one


def test_activations_are_counted_from_the_network():
    # ResNet-8 keeps the inputs and outputs of 7 convolutions for each image, most of them 16 x 32 x 32 in float32.
    kept, _ = memory._activations("resnet8", torch.float32)
    assert 5 * 16 * 32 * 32 * 4 < kept < 30 * 16 * 32 * 32 * 4
    # ResNet-50's widest output is its first stage's; its largest weights are far larger.
    assert memory._activations("resnet50", torch.float32)[1] == 256 * 32 * 32 * 4


def test_a_students_memory_is_its_state_and_what_its_objective_keeps(tiny, teacher):
    students = [SCRATCH, COMBINED, {"name": "hint", "architecture": "resnet8", "terms": [{"method": "fitnets"}]}]
    found = memory.count_student_memory(make_config(*students, teacher=str(teacher.path)))
    network = build("resnet8")
    assert found["scratch"].state == found["combined"].state == 12 * count_parameters(network)
    assert found["hint"].state == found["scratch"].state + 12 * (32 * 32 + 2 * 32)  # the regressor
    kept, images = memory._activations("resnet8", torch.float32)[0] * 20, 20 * 3 * 32 * 32 * 4
    assert found["scratch"].kept == pytest.approx(kept - images, rel=1e-3)
    assert found["scratch"].kept < found["combined"].kept
