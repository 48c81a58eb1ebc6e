"""The recipe `fast`: whitening, dirac filters, Muon, and that a run with it resumes to the same bits."""

import pytest
import torch

from kdexplorer.datasets.augmentation import normalize
from kdexplorer.networks import build
from kdexplorer.training.recipe import build_optimizer, orthogonalize, whitening
from kdexplorer.training.trainer import Trainer
from tests.training.configs import make_config, stop_and_resume

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
    sizes = {
        round(0.5 * one.get("factor", 1.0), 6): sum(p.numel() for p in one["params"])
        for one in optimizer.param_groups
        if one["params"]
    }
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
