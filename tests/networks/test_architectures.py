"""Networks by name: sizes as published, what the registry says of them, seeds, folding."""

import pytest
import torch
from torch import nn

from kdexplorer.networks import Outputs, all_architectures, build, build_empty, count_multiply_adds, count_parameters
from kdexplorer.networks.air import AirNet
from kdexplorer.networks.base import fold_batch_norm
from kdexplorer.networks.resnet import CifarResNet
from kdexplorer.runs.checkpoints import to_half_precision
from kdexplorer.web import export_network

ARCHITECTURES = {entry.key: entry for entry in all_architectures()}
ONE_OF_A_KIND = ["resnet8", "resnet18", "resnet50", "wrn_16_2", "mobilenet_v2", "air_16"]
HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")


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


COSTS = {
    "resnet8": (75_290, 12_239_488), "resnet20": (269_722, 40_551_040), "resnet32": (464_154, 68_862_592),
    "resnet44": (658_586, 97_174_144), "resnet56": (853_018, 125_485_696), "resnet110": (1_727_962, 252_887_680),
    "resnet18": (11_173_962, 555_422_720), "resnet34": (21_282_122, 1_159_402_496),
    "resnet50": (23_520_842, 1_297_829_888), "wrn_16_2": (691_674, 101_106_944), "wrn_40_2": (2_243_546, 327_599_360),
    "mobilenet_v2": (2_236_682, 87_976_448), "shufflenet_v2": (1_263_854, 45_002_112), "vgg8": (3_918_858, 96_146_432),
    "vgg13": (9_416_010, 284_890_112), "air_16": (127_096, 10_135_072), "air_32": (498_104, 33_066_272),
    "air_64": (1_972_792, 118_147_360), "air_80": (4_978_712, 246_710_048),
}  # fmt: skip
"""Parameters and multiply-adds. The parameters of CIFAR ResNets, wide ones and `air_64` are those of their papers; of
torchvision's networks the published ones with a 3x3 stem (49 - 9 places less) and 10 instead of 1,000 classes."""


@pytest.mark.parametrize("architecture", COSTS)
def test_parameters_and_multiply_adds_are_those_of_the_papers(architecture):
    assert (count_parameters(build_empty(architecture)), count_multiply_adds(architecture)) == COSTS[architecture]
    more = 90 * ARCHITECTURES[architecture].embedding
    assert count_multiply_adds(architecture, classes=100) == COSTS[architecture][1] + more


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_the_registry_says_what_the_network_computes_and_whether_the_browser_can(
    architecture, images, tmp_path, make_checkpoint
):
    entry, network = ARCHITECTURES[architecture], build_empty(architecture).eval()
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
    is_known = isinstance(network, (CifarResNet, AirNet)) and not entry.arguments.get("shortcut")
    assert entry.runs_in_browser == is_known
    if entry.runs_in_browser:
        checkpoint = make_checkpoint(tmp_path / "net", architecture)
        sizes = [tensor.numel() for tensor in to_half_precision(checkpoint.network()).values()]
        assert len(export_network(checkpoint).weights) == 2 * sum(sizes)


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
    block = nn.ModuleDict({"conv1": nn.Conv2d(3, 3, 1), "bn1": nn.BatchNorm2d(3)})  # a plugin's, in any order
    assert isinstance(fold_batch_norm(block)["bn1"], nn.BatchNorm2d)


@pytest.mark.parametrize("key", [*ONE_OF_A_KIND, "vgg8", "shufflenet_v2"])
def test_a_seed_decides_the_weights_an_empty_network_has_none_and_torchs_generator_is_not_used(key, images):
    before = torch.get_rng_state()
    whole, same, other = (build(key, classes=7, seed=seed) for seed in (5, 5, 6))
    pairs = list(zip(*(one.state_dict().values() for one in (whole, same, other)), strict=True))
    assert all(torch.equal(value, again) for value, again, _ in pairs)
    assert not all(torch.equal(value, another) for value, _, another in pairs)
    assert whole.training
    whole(images).sum().backward()
    empty = build_empty(key, classes=7)
    assert torch.equal(torch.get_rng_state(), before)
    weights = [one for one in whole.parameters() if one.dim() == 4]
    assert all(one.is_contiguous(memory_format=torch.channels_last) for one in weights)
    expected = {name: (one.shape, one.dtype, one.stride()) for name, one in whole.state_dict().items()}
    assert {name: (one.shape, one.dtype, one.stride()) for name, one in empty.state_dict().items()} == expected
    assert not dict(empty.named_buffers()).keys() - expected.keys()  # nothing that weights would not fill
    empty.load_state_dict(whole.state_dict())
    with torch.no_grad():
        logits = empty.eval()(images)
        assert torch.equal(logits, whole.eval()(images))
    assert logits.shape == (2, 7)
