"""Networks by name: sizes as published, stages, seeds, folding."""

import pytest
import torch
from torch import nn

from kdexplorer import models
from kdexplorer.config import ARCHITECTURES
from kdexplorer.errors import ConfigError

ONE_OF_A_KIND = ["resnet8", "resnet18", "resnet50", "wrn_16_2", "mobilenet_v2"]
HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")


def cifar_resnet_count(depth):
    """He et al. 2016, section 4.2, without parameters in the shortcuts."""
    n = (depth - 2) // 6
    convolutions = 9 * (3 * 16 + 2 * n * 16 * 16 + 16 * 32 + (2 * n - 1) * 32 * 32 + 32 * 64 + (2 * n - 1) * 64 * 64)
    norms = 2 * (16 + 2 * n * (16 + 32 + 64))
    return convolutions + norms + 64 * 10 + 10


def wide_resnet_count(depth, k):
    """Zagoruyko & Komodakis 2016: pre-activation blocks, a 1x1 convolution where the shape changes."""
    n, total, before = (depth - 4) // 6, 9 * 3 * 16, 16
    for channels in (16 * k, 32 * k, 64 * k):
        total += 9 * (before * channels + (2 * n - 1) * channels * channels) + before * channels
        total += 2 * (before + (2 * n - 1) * channels)
        before = channels
    return total + 2 * before + before * 10 + 10


def from_imagenet(published, stem_channels, features):
    """torchvision's published count with a 3x3 instead of a 7x7 stem and 10 instead of 1,000 classes."""
    return published - (49 - 9) * 3 * stem_channels - 990 * (features + 1)


COUNTS = {
    **{f"resnet{depth}": cifar_resnet_count(depth) for depth in (8, 20, 32, 44, 56, 110)},
    "resnet18": from_imagenet(11_689_512, 64, 512),
    "resnet34": from_imagenet(21_797_672, 64, 512),
    "resnet50": from_imagenet(25_557_032, 64, 2048),
    "wrn_16_2": wide_resnet_count(16, 2),
    "wrn_40_2": wide_resnet_count(40, 2),
    "mobilenet_v2": from_imagenet(3_504_872, 0, 1280),
}
PUBLISHED = {
    "resnet20": 269_722,
    "resnet32": 464_154,
    "resnet44": 658_586,
    "resnet56": 853_018,
    "resnet110": 1_727_962,
    "resnet18": 11_173_962,
    "resnet34": 21_282_122,
    "resnet50": 23_520_842,
    "wrn_16_2": 691_674,
    "wrn_40_2": 2_243_546,
}


@pytest.fixture
def images():
    return torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_sizes_agree_with_the_papers_and_stages_halve(architecture, images):
    network = models.build(architecture, seed=0).eval()
    assert models.parameter_count(network) == COUNTS[architecture]
    assert PUBLISHED.get(architecture, COUNTS[architecture]) == COUNTS[architecture]

    with torch.no_grad():
        logits, stages = network(images, return_stages=True)
        plain = network(images)
    assert logits.shape == (2, 10)
    assert torch.equal(plain, logits)
    sides = [32, 16, 8, 4] if len(network.stage_names) == 4 else [32, 16, 8]
    assert [tuple(stage.shape[2:]) for stage in stages] == [(side, side) for side in sides]
    assert not any(getattr(module, hooks) for module in network.modules() for hooks in HOOKS)


def test_the_lab_pair_has_four_stages_and_the_papers_networks_three():
    assert all(len(models.build(name).stage_names) == 4 for name in ("resnet18", "mobilenet_v2"))
    assert all(len(models.build(name).stage_names) == 3 for name in ("resnet8", "wrn_16_2"))


def test_stages_are_part_of_the_graph(images):
    network = models.build("resnet8", seed=0)
    _, stages = network(images, return_stages=True)
    stages[0].square().mean().backward()
    assert network.layer1[0].conv1.weight.grad.abs().sum() > 0
    assert network.layer2[0].conv1.weight.grad is None


def test_the_shortcut_takes_every_second_pixel_and_pads_channels_with_zeros():
    block = models.build("resnet8", seed=0).layer2[0].eval()
    nn.init.zeros_(block.bn2.weight)
    x = torch.rand(1, 16, 8, 8)
    with torch.no_grad():
        y = block(x)
    assert torch.equal(y[:, 8:24], x[:, :, ::2, ::2])
    assert y[:, :8].abs().sum() == y[:, 24:].abs().sum() == 0


@pytest.mark.parametrize("architecture", ONE_OF_A_KIND)
def test_a_seed_decides_the_weights_and_leaves_torchs_generator_alone(architecture):
    before = torch.get_rng_state()
    first, same, other = (models.build(architecture, seed=seed).state_dict() for seed in (5, 5, 6))
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(first[key], same[key]) for key in first)
    assert not all(torch.equal(first[key], other[key]) for key in first)


@pytest.mark.parametrize("architecture", ONE_OF_A_KIND)
def test_a_training_step_draws_no_random_numbers(architecture, images):
    network = models.build(architecture, seed=0)
    assert network.training
    before = torch.get_rng_state()
    network(images).sum().backward()
    assert torch.equal(torch.get_rng_state(), before)


def test_weights_are_in_channels_last_and_classes_are_counted():
    network = models.build("resnet8", classes=7, seed=0)
    assert network.conv1.weight.is_contiguous(memory_format=torch.channels_last)
    assert network(torch.zeros(2, 3, 32, 32)).shape == (2, 7)


def test_an_unknown_architecture_names_the_choices():
    with pytest.raises(ConfigError, match=r"'resnet9'.*resnet8, resnet20"):
        models.build("resnet9")


@pytest.mark.parametrize("architecture", ["resnet20", *ONE_OF_A_KIND])
def test_folding_keeps_the_answers_and_the_original(architecture, images):
    network = models.build(architecture, seed=0).double()
    generator = torch.Generator().manual_seed(1)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            for tensor in (module.weight.data, module.running_var):
                tensor.copy_(torch.rand(tensor.shape, generator=generator) + 0.5)
            for tensor in (module.bias.data, module.running_mean):
                tensor.copy_(torch.randn(tensor.shape, generator=generator) * 0.1)
    before = {key: tensor.clone() for key, tensor in network.state_dict().items()}
    folded = models.folded(network)

    assert all(torch.equal(tensor, before[key]) for key, tensor in network.state_dict().items())
    assert network.training
    assert not folded.training
    assert not any(parameter.requires_grad for parameter in folded.parameters())
    logits, stages = network.eval()(images.double(), return_stages=True)
    folded_logits, folded_stages = folded(images.double(), return_stages=True)
    torch.testing.assert_close(folded_logits, logits, rtol=1e-9, atol=1e-9)
    for stage, expected in zip(folded_stages, stages, strict=True):
        torch.testing.assert_close(stage, expected, rtol=1e-9, atol=1e-9)
    left = sum(isinstance(module, nn.BatchNorm2d) for module in folded.modules())
    assert left == 0 or architecture.startswith("wrn")
