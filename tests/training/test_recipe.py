"""What changes during training: the learning rate, the resolution, the time that is left; and the recipe `fast`."""

import json
import logging
import threading

import pytest
import torch

from kdexplorer.config import learning_rate, resolution
from kdexplorer.datasets.augmentation import normalize
from kdexplorer.networks import build
from kdexplorer.runs.launch import Work
from kdexplorer.training import progress
from kdexplorer.training.recipe import build_optimizer, orthogonalize, whitening
from kdexplorer.training.trainer import Trainer
from tests.training.configs import create, make_config, stop_and_resume


@pytest.mark.parametrize(
    ("schedule", "warmup", "steps", "rates"),
    [
        ("one_cycle", 0.2, 10, dict(enumerate([0.5, 1, 1, 0.875, 0.75, 0.625, 0.5, 0.375, 0.25, 0.125]))),
        ("cosine", 0.0, 4, {0: 1.0, 1: (1 + 0.5**0.5) / 2, 2: 0.5, 3: (1 - 0.5**0.5) / 2}),
        ("step", 0.0, 240, {0: 1, 149: 1, 150: 0.1, 179: 0.1, 180: 0.01, 209: 0.01, 210: 0.001, 239: 0.001}),
    ],
)
def test_the_rate_of_each_step(schedule, warmup, steps, rates):
    """The last are those of the field's tables."""
    config = make_config(learning_rate=2.0, warmup=warmup, schedule=schedule)
    assert {step: learning_rate(config, step, steps) / 2 for step in rates} == pytest.approx(rates)


def test_the_result_is_the_average_of_the_weights(tiny):
    trainer = Trainer(make_config(ema=0.5, optimizer="adamw", learning_rate=0.01))
    (student,) = trainer.students
    expected = student.network.state_dict()["fc.weight"].clone()
    for step in range(3):
        trainer.step(0, step)
        decay = min(0.5, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * student.network.state_dict()["fc.weight"]
    assert student.result.state_dict()["fc.weight"].numpy() == pytest.approx(expected.numpy(), abs=1e-6)
    assert student.result.state_dict()["bn1.num_batches_tracked"] == 3


def test_the_resolution_grows_in_even_steps_and_the_last_quarter_is_full():
    def sides(epochs, start):
        config = make_config(epochs=epochs, start_resolution=start)
        return [resolution(config, epoch) for epoch in range(epochs)]

    assert sides(8, 32) == [32] * 8
    assert sides(8, 16) == [16, 16, 16, 24, 24, 24, 32, 32]
    assert sides(12, 24) == [24] * 9 + [32] * 3
    assert sides(1, 16) == [32]  # the size that is evaluated has been trained on
    assert sides(2, 16) == [16, 32]


def test_the_time_left_is_proportional_to_pixels_and_lines_are_means_since_the_line_before(tiny, monkeypatch):
    """Two epochs of six steps, at 16 and 32 pixels a side; each step's clock is its pixels.

    On a GPU the losses of several steps are read at once: between two readings there is nothing to say.
    """
    run = create(make_config(start_resolution=16))
    trainer, clock = Trainer(run.config()), [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: clock[0])
    work = Work(run, logging.getLogger("test"), threading.Event())
    shown = progress.RunProgress(work)
    shown.begin(trainer, 0)
    read = [(5, 1.0), (5, 1.0), (10, 6.0), (10, 6.0), (15, 9.0), (30, 9.0)]  # images so far, and right ones
    for number, (images, total) in enumerate(2 * read):
        clock[0] += 3.0 * (resolution(trainer.config, number // 6) / 16) ** 2
        trainer.students[0].sums = {"images": float(images), "correct": total}
        shown.update(number // 6, number % 6 + 1)
        expected = 3 * ((5 - number if number < 6 else 0) + 4 * min(6, 11 - number))
        assert work.facts["seconds_left"] == (expected if number else None)
        assert run.status().seconds_left == work.facts["seconds_left"]
    lines = [json.loads(line) for line in (run.path / "batches.jsonl").read_text().splitlines()]
    assert [line["train"]["accuracy"] for line in lines] == [0.2, 1.0, 0.6, 0.0] * 2


AIR = {"name": "air", "architecture": "air_16"}


def fast(*students):
    return make_config(*students, recipe="fast", batch_size=10, train_images=60, learning_rate=0.5)


def test_whitened_patches_are_uncorrelated_with_variance_one():
    images = torch.randn(200, 3, 12, 12, generator=torch.Generator().manual_seed(0))
    images[:, 1] += 0.9 * images[:, 0]  # correlated before
    filters = whitening(images, 2)
    assert filters.shape == (12, 3, 2, 2)
    outputs = torch.nn.functional.conv2d(images, filters).transpose(0, 1).flatten(1)
    torch.testing.assert_close(outputs @ outputs.T / outputs.shape[1], torch.eye(12), atol=2e-3, rtol=0)
    sizes = filters.flatten(1).norm(dim=1)
    assert torch.equal(sizes, sizes.sort().values)  # the most frequent patterns first: the smallest factors


@pytest.mark.parametrize("shape", [(16, 40), (40, 16)])
def test_orthogonalize_keeps_singular_vectors_and_brings_values_near_one(shape):
    matrix = torch.randn(shape, generator=torch.Generator().manual_seed(1))
    u, _, v = torch.linalg.svd(matrix, full_matrices=False)
    values = u.T @ orthogonalize(matrix) @ v.T
    found = values.diagonal()
    assert 0.3 < found.min() < found.max() < 1.3
    torch.testing.assert_close(values, found.diag(), atol=1e-4, rtol=0)


@pytest.mark.parametrize("architecture", ["air_16", "resnet8"])
def test_a_fast_run_begins_whitened_with_dirac_filters_and_trains_the_rest(tiny, architecture):
    trainer = Trainer(fast({"name": "one", "architecture": architecture}))
    network = trainer.students[0].network
    first, *others = (module for module in network.modules() if isinstance(module, torch.nn.Conv2d))
    images = normalize(trainer.images, trainer.normalization)
    torch.testing.assert_close(first.weight[:12], whitening(images, first.kernel_size[0])[:12])
    for module in others:
        taps = module.weight[: module.in_channels].detach()
        assert torch.equal(taps, torch.nn.init.dirac_(torch.empty_like(taps)))
    before = {name: value.clone() for name, value in network.named_parameters()}
    trainer.step(0, 0)
    changed = {name for name, value in network.named_parameters() if not torch.equal(before[name], value)}
    assert changed == {name for name, value in before.items() if value.requires_grad}
    assert "conv1.weight" not in changed


@pytest.fixture
def air(tiny):
    """A network and its optimizer."""
    (student,) = Trainer(fast(AIR)).students
    return student.network, student.optimizer


def test_each_group_has_its_own_rate_and_momentum_and_biases_have_no_decay(air):
    _, optimizer = air
    used = [one for one in optimizer.param_groups if one["params"]]
    sizes = {round(0.5 * one.get("factor", 1.0), 6): sum(p.numel() for p in one["params"]) for one in used}
    filters = 9 * (24 * 16 + 16 * 16 + 16 * 64 + 3 * 64 * 64)
    assert sizes == {0.5: 640, 8: 24 + 2 * (16 + 64 + 64), 0.12: filters}

    def groups(**recipe):
        config = make_config(AIR, batch_size=10, **recipe)
        return build_optimizer(config, build("air_16"), [], torch.float32).param_groups

    for recipe, of_filters in {"airbench": 0.6, "fast": 0.85}.items():
        for group in groups(recipe=recipe):
            assert group["momentum"] == (of_filters if "orthogonal" in group else 0.85)
    adamw = groups(optimizer="adamw", bias_factor=4.0, learning_rate=0.01)
    assert [one["weight_decay"] for one in adamw] == [5e-4, 0, 0]


def test_filters_keep_their_norm_and_the_rate_is_the_steps_spectral_size(air):
    network, optimizer = air
    network(torch.randn(8, 3, 32, 32)).square().sum().backward()
    before = network.block2.conv2.weight.clone()
    for group in optimizer.param_groups:
        group["lr"] = group.get("factor", 1.0) * 0.5
    optimizer.step()
    scaled = before * 64**0.5 / before.norm()
    assert torch.linalg.matrix_norm((network.block2.conv2.weight - scaled).flatten(1), 2) < 1.3 * 0.12


@pytest.mark.slow
def test_a_compiled_air_net_has_finite_gradients_in_bfloat16():
    network = build("air_16", seed=0)
    forward = torch.compile(network, dynamic=False)
    with torch.autocast("cpu", torch.bfloat16):
        logits = forward(torch.randn(64, 3, 32, 32).contiguous(memory_format=torch.channels_last))
    torch.nn.functional.cross_entropy(logits.float(), torch.arange(64) % 10).backward()
    gradients = [parameter.grad for parameter in network.parameters() if parameter.requires_grad]
    assert all(gradient.isfinite().all() and gradient.any() for gradient in gradients)


def test_a_fast_run_resumes_to_the_same_bits(tiny):
    stop_and_resume(fast(AIR, {"name": "smoothed", "architecture": "resnet8", "label_smoothing": 0.2}), (0, 3))
