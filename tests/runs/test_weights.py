"""Weights from elsewhere: read without unpickling, checked before use."""

import pickle
import zipfile

import pytest
import safetensors.torch
import torch

from kdexplorer.errors import CheckpointError
from kdexplorer.networks import build
from kdexplorer.runs import checkpoints
from kdexplorer.runs.checkpoints import network_from_state, read_weights
from tests.runs.forgery import Marker


@pytest.mark.parametrize(
    "wrap",
    [
        lambda s: s,
        lambda s: {"state_dict": s},
        lambda s: {"module." + k: s[k] for k in s},
        lambda s: {"state_dict": {"model._orig_mod." + k: s[k] for k in s}},
    ],
)
def test_weights_from_elsewhere_are_read_without_unpickling(tmp_path, wrap):
    network = build("resnet8", seed=3)
    torch.save(wrap(network.state_dict()), tmp_path / "net.pth")
    state = read_weights(tmp_path / "net.pth")
    loaded = network_from_state("resnet8", state, 10, "net.pth")
    assert all(torch.equal(a, b) for a, b in zip(loaded.parameters(), network.parameters(), strict=True))


@pytest.mark.parametrize(
    ("odd", "words"),
    [
        (torch.zeros(10).to_sparse(), r"is .*plain numbers"),
        (torch.zeros(10, device="meta"), r"is .*plain numbers"),
        (torch.zeros(1).expand(10**6, 10**6), "has shape"),  # for which it has no numbers
    ],
)
def test_tensors_that_hold_no_plain_numbers_are_refused(tmp_path, odd, words):
    torch.save(build("resnet8", seed=0).state_dict() | {"fc.bias": odd}, tmp_path / "net.pth")
    state = read_weights(tmp_path / "net.pth")
    with pytest.raises(CheckpointError, match=rf"fc\.bias {words}"):
        network_from_state("resnet8", state, 10, "net.pth")


def test_the_same_weights_twice_are_refused(tmp_path):
    torch.save({"fc.bias": torch.zeros(1), "module.fc.bias": torch.ones(1)}, tmp_path / "net.pth")
    with pytest.raises(CheckpointError, match="the same weights twice"):
        read_weights(tmp_path / "net.pth")


def _zip(path, name, data):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(name, data)


def test_a_hostile_file_from_elsewhere_is_refused_and_does_not_fire(tmp_path):
    fired, path = tmp_path / "fired", tmp_path / "net.pth"
    writers = [
        lambda: torch.save({"fc.bias": Marker(fired)}, path),
        lambda: torch.save({"fc.bias": Marker(fired)}, path, _use_new_zipfile_serialization=False),
        lambda: path.write_bytes(pickle.dumps(Marker(fired), protocol=2)),
        lambda: _zip(path, "archive/data.pkl", pickle.dumps(Marker(fired), protocol=2)),
    ]
    for write in writers:
        write()
        with pytest.raises(CheckpointError, match="not a plain file of weights") as caught:
            read_weights(path)
        assert "weights_only" not in str(caught.value)  # torch's advice is to unpickle
    assert not fired.exists()


def test_a_file_that_unpacks_to_more_than_its_size_is_refused_before_it_is_loaded(tmp_path, monkeypatch):
    whole, packed = tmp_path / "whole.pt", tmp_path / "packed.pt"
    torch.save({"fc.bias": torch.zeros(1_000_000)}, whole)
    with zipfile.ZipFile(whole) as source, zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as target:
        for part in source.infolist():
            target.writestr(part.filename, source.read(part))
    assert packed.stat().st_size < 10_000
    assert len(read_weights(whole)["fc.bias"]) == 1_000_000
    monkeypatch.setattr(torch, "load", lambda *_, **__: pytest.fail("it was loaded"))
    with pytest.raises(CheckpointError, match="more than its own size"):
        read_weights(packed)


def _save_views(state, path, **options):
    """Many tensors in a file with the numbers of one."""
    torch.save(dict(zip(state, torch.zeros(len(state)), strict=True)), path, **options)


@pytest.mark.parametrize(
    "save",
    [torch.save, _save_views, lambda state, path: torch.save(state, path, _use_new_zipfile_serialization=False),
     lambda state, path: safetensors.torch.save_file(state, path)],
    ids=["PyTorch", "views", "PyTorch before 1.6", "safetensors"],
)  # fmt: skip
def test_a_file_of_too_many_tensors_is_refused_before_it_is_loaded(tmp_path, monkeypatch, save):
    path = tmp_path / f"net.{'safetensors' if 'safetensors' in str(save.__code__.co_names) else 'pth'}"
    monkeypatch.setattr(checkpoints, "MAX_TENSORS", 1000)
    save({f"layer{number}.weight": torch.zeros(1) for number in range(600)}, path)
    assert len(read_weights(path)) == 600
    save({f"layer{number}.weight": torch.zeros(1) for number in range(6000)}, path)
    for module, name in ((torch, "load"), (safetensors.torch, "load_file")):
        monkeypatch.setattr(module, name, lambda *_, **__: pytest.fail("it was loaded"))
    with pytest.raises(CheckpointError, match="more than 1,000 tensors"):
        read_weights(path)


@pytest.mark.parametrize("content", [[1, 2], {"a": 1}, {0: torch.zeros(1)}, torch.zeros(3)])
def test_a_file_without_names_and_tensors_is_refused(tmp_path, content):
    torch.save(content, tmp_path / "net.pth")
    with pytest.raises(CheckpointError, match="state dict"):
        read_weights(tmp_path / "net.pth")


def test_a_folder_is_no_weights(tmp_path):
    with pytest.raises(CheckpointError, match="not a plain file"):
        read_weights(tmp_path)
