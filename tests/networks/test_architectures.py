"""Networks by name: sizes as published, what the registry says of them, seeds, folding."""

import pytest
import torch
from torch import nn

from kdexplorer.errors import ConfigError
from kdexplorer.networks import Outputs, all_architectures, build, build_empty, get_architecture
from kdexplorer.networks.air import AirNet
from kdexplorer.networks.base import fold_batch_norm
from kdexplorer.networks.registry import count_multiply_adds, count_parameters
from kdexplorer.networks.resnet import CifarResNet
from kdexplorer.runs.weights import to_half_precision
from kdexplorer.web.export import export_network

ARCHITECTURES = [entry.key for entry in all_architectures()]

ONE_OF_A_KIND = ["resnet8", "resnet18", "resnet50", "wrn_16_2", "mobilenet_v2", "air_16"]
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


def air_count(width):
    """Jordan 2024, section 3.1: the whitening with its shifts, then shifts alone, and a classifier without them."""
    widths, total, before = (width, 4 * width, 4 * width), 24 * 3 * 2 * 2 + 24, 24
    for channels in widths:
        total += 9 * (before + channels) * channels + 4 * channels  # scales are 1, and stay it
        before = channels
    return total + 10 * before


def vgg_count(convolutions):
    """3 x 3 convolutions with biases and norms, five blocks, and the classifier."""
    count, before = 0, 3
    for channels in (64, 128, 256, 512, 512):
        for _ in range(convolutions):
            count, before = count + 9 * before * channels + 3 * channels, channels
    return count + 512 * 10 + 10


COUNTS = {
    **{f"resnet{depth}": cifar_resnet_count(depth) for depth in (8, 20, 32, 44, 56, 110)},
    "resnet18": from_imagenet(11_689_512, 64, 512),
    "resnet34": from_imagenet(21_797_672, 64, 512),
    "resnet50": from_imagenet(25_557_032, 64, 2048),
    "wrn_16_2": wide_resnet_count(16, 2),
    "wrn_40_2": wide_resnet_count(40, 2),
    "mobilenet_v2": from_imagenet(3_504_872, 0, 1280),
    "shufflenet_v2": from_imagenet(2_278_604, 0, 1024),
    "vgg8": vgg_count(1),
    "vgg13": vgg_count(2),
    **{f"air_{width}": air_count(width) for width in (16, 32, 64)},
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
    "air_64": 1_972_792,
}


@pytest.fixture
def images():
    return torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("depth", [18, 50])
def test_the_initial_values_are_torchvisions(depth, images):
    """Runs that have begun with torchvision's own resume to the same bits."""
    import torchvision.models

    torch.manual_seed(3)
    published = getattr(torchvision.models, f"resnet{depth}")(num_classes=10)
    published.conv1 = nn.Conv2d(3, 64, 3, 1, 1, bias=False)
    nn.init.kaiming_normal_(published.conv1.weight, mode="fan_out", nonlinearity="relu")
    published.maxpool = nn.Identity()
    own = build(f"resnet{depth}", seed=3)
    expected = published.state_dict()
    assert expected.keys() == own.state_dict().keys()
    assert all(torch.equal(expected[key], value) for key, value in own.state_dict().items())
    published.to(memory_format=torch.channels_last)
    assert torch.equal(published(images), own(images))


MULTIPLY_ADDS = {
    "resnet8": 12_239_488,
    "resnet20": 40_551_040,
    "resnet32": 68_862_592,
    "resnet44": 97_174_144,
    "resnet56": 125_485_696,
    "resnet110": 252_887_680,
    "resnet18": 555_422_720,
    "resnet34": 1_159_402_496,
    "resnet50": 1_297_829_888,
    "wrn_16_2": 101_106_944,
    "wrn_40_2": 327_599_360,
    "mobilenet_v2": 87_976_448,
    "shufflenet_v2": 45_002_112,
    "vgg8": 96_146_432,
    "vgg13": 284_890_112,
    "air_16": 10_135_072,
    "air_32": 33_066_272,
    "air_64": 118_147_360,
}


@pytest.mark.parametrize("architecture", MULTIPLY_ADDS)
def test_parameters_and_multiply_adds_are_those_of_the_papers(architecture):
    assert count_parameters(build_empty(architecture)) == COUNTS[architecture]
    assert PUBLISHED.get(architecture, COUNTS[architecture]) == COUNTS[architecture]
    assert count_multiply_adds(architecture) == MULTIPLY_ADDS[architecture]


def test_multiply_adds_by_hand():
    """ResNet-8: a convolution of 3x3xCxD at each pixel, and the classifier; more classes cost 64 each."""
    stages = [(2 * 16 * 16, 32), (16 * 32 + 32 * 32, 16), (32 * 64 + 64 * 64, 8)]
    by_hand = 9 * (3 * 16 * 32**2 + sum(channels * side**2 for channels, side in stages)) + 64 * 10
    assert count_multiply_adds("resnet8") == by_hand
    assert count_multiply_adds("resnet8", classes=100) == by_hand + 64 * 90


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_the_registry_says_what_the_network_computes(architecture, images):
    entry = get_architecture(architecture)
    network = build_empty(architecture).eval()
    for tensor in network.state_dict().values():
        tensor.fill_(0.01)
    with torch.no_grad():
        outputs = Outputs(*network(images, all_outputs=True))
        plain = network(images)
    assert outputs.logits.shape == (2, 10)
    assert torch.equal(plain, outputs.logits)
    side = 31 if architecture.startswith("air") else 32  # a 2x2 convolution without a border
    assert [tuple(stage.shape) for stage in outputs.stages] == [
        (2, stage.channels, side // stage.reduction, side // stage.reduction) for stage in entry.stages
    ]
    assert outputs.embedding.shape == (2, entry.embedding)
    assert torch.equal(network.classify(outputs.embedding), outputs.logits)
    assert not any(getattr(module, hooks) for module in network.modules() for hooks in HOOKS)


def test_stages_halve_four_times_in_the_lab_pair_and_three_times_in_the_papers_networks():
    reductions = {entry.key: [stage.reduction for stage in entry.stages] for entry in all_architectures()}
    four = {"resnet18", "resnet34", "resnet50", "mobilenet_v2"}
    assert {key for key, found in reductions.items() if found == [1, 2, 4, 8]} == four
    pooled = {"air_16", "air_32", "air_64", "shufflenet_v2"}
    vgg = {"vgg8", "vgg13"}
    assert {key for key, found in reductions.items() if found == [2, 4, 8, 8]} == vgg
    assert {key for key, found in reductions.items() if found == [2, 4, 8]} == pooled
    assert {key for key, found in reductions.items() if found == [1, 2, 4]} == set(ARCHITECTURES) - four - pooled - vgg


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_the_browser_runs_what_can_be_exported(architecture, tmp_path, make_checkpoint):
    entry = get_architecture(architecture)
    assert entry.runs_in_browser == isinstance(build_empty(architecture), (CifarResNet, AirNet))
    if entry.runs_in_browser:
        checkpoint = make_checkpoint(tmp_path / "net", architecture)
        assert len(export_network(checkpoint).weights) == 2 * sum(
            tensor.numel() for tensor in to_half_precision(checkpoint.network()).values()
        )


def test_stages_are_part_of_the_graph(images):
    network = build("resnet8", seed=0)
    _, stages, _ = network(images, all_outputs=True)
    stages[0].square().mean().backward()
    assert network.layer1[0].conv1.weight.grad.abs().sum() > 0
    assert network.layer2[0].conv1.weight.grad is None


def test_the_shortcut_takes_every_second_pixel_and_pads_channels_with_zeros():
    block = build("resnet8", seed=0).layer2[0].eval()
    nn.init.zeros_(block.bn2.weight)
    x = torch.rand(1, 16, 8, 8)
    with torch.no_grad():
        y = block(x)
    assert torch.equal(y[:, 8:24], x[:, :, ::2, ::2])
    assert y[:, :8].abs().sum() == y[:, 24:].abs().sum() == 0


@pytest.mark.parametrize("architecture", ONE_OF_A_KIND)
def test_a_seed_decides_the_weights_and_leaves_torchs_generator_alone(architecture):
    before = torch.get_rng_state()
    first, same, other = (build(architecture, seed=seed).state_dict() for seed in (5, 5, 6))
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(first[key], same[key]) for key in first)
    assert not all(torch.equal(first[key], other[key]) for key in first)


@pytest.mark.parametrize("architecture", ONE_OF_A_KIND)
def test_a_training_step_draws_no_random_numbers(architecture, images):
    network = build(architecture, seed=0)
    assert network.training
    before = torch.get_rng_state()
    network(images).sum().backward()
    assert torch.equal(torch.get_rng_state(), before)


def test_weights_are_in_channels_last_and_classes_are_counted():
    network = build("resnet8", classes=7, seed=0)
    assert network.conv1.weight.is_contiguous(memory_format=torch.channels_last)
    assert network(torch.zeros(2, 3, 32, 32)).shape == (2, 7)


@pytest.mark.parametrize("find", [build, get_architecture])
def test_an_unknown_architecture_is_an_error_that_lists_the_choices(find):
    with pytest.raises(ConfigError, match=r"'resnet9'.*resnet8, resnet20"):
        find("resnet9")


@pytest.mark.parametrize("architecture", ["resnet20", *ONE_OF_A_KIND])
def test_folding_keeps_the_outputs_and_the_original(architecture, images):
    network = build(architecture, seed=0).double()
    generator = torch.Generator().manual_seed(1)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            for tensor in (module.weight.data, module.running_var):
                tensor.copy_(torch.rand(tensor.shape, generator=generator) + 0.5)
            for tensor in (module.bias.data, module.running_mean):
                tensor.copy_(torch.randn(tensor.shape, generator=generator) * 0.1)
    before = {key: tensor.clone() for key, tensor in network.state_dict().items()}
    folded = fold_batch_norm(network)

    assert all(torch.equal(tensor, before[key]) for key, tensor in network.state_dict().items())
    assert network.training
    assert not folded.training
    assert not any(parameter.requires_grad for parameter in folded.parameters())
    logits, stages, embedding = network.eval()(images.double(), all_outputs=True)
    folded_logits, folded_stages, folded_embedding = folded(images.double(), all_outputs=True)
    pairs = zip([folded_logits, folded_embedding, *folded_stages], [logits, embedding, *stages], strict=True)
    for found, expected in pairs:
        torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)
    left = sum(isinstance(module, nn.BatchNorm2d) for module in folded.modules())
    assert (left == 0) != architecture.startswith("wrn")


@pytest.mark.parametrize("key", ARCHITECTURES)
def test_an_empty_network_is_the_same_but_for_its_values_and_draws_nothing(key):
    torch.manual_seed(3)
    before, whole = torch.get_rng_state(), build(key, classes=7, seed=0)
    empty = build_empty(key, classes=7)
    assert torch.equal(torch.get_rng_state(), before)
    expected = {name: (one.shape, one.dtype, one.stride()) for name, one in whole.state_dict().items()}
    assert {name: (one.shape, one.dtype, one.stride()) for name, one in empty.state_dict().items()} == expected
    assert not dict(empty.named_buffers()).keys() - expected.keys()  # nothing that weights would not fill
    empty.load_state_dict(whole.state_dict())
    images = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert torch.equal(empty.eval()(images), whole.eval()(images))
