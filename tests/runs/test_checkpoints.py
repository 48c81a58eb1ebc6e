"""Checkpoints, their cards and foreign weights: what comes back, what is refused first; nothing is unpickled."""

import hashlib
import os
import pickle
import zipfile

import numpy as np
import pytest
import safetensors.torch
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kdexplorer.errors import CheckpointError, ConfigError
from kdexplorer.networks import build
from kdexplorer.presets import PRESETS
from kdexplorer.runs import checkpoints
from kdexplorer.runs.checkpoints import bundled_checkpoints, find_checkpoint, network_from_state, read_weights
from tests.accidents import mutated
from tests.runs.forgery import Marker, edit_card


def replace_weights(checkpoint, data):
    """The card has their hash, as a forger would see to it."""
    (checkpoint.path / "weights.safetensors").write_bytes(data)
    edit_card(checkpoint, sha256=hashlib.sha256(data).hexdigest())


def test_a_checkpoint_comes_back_as_it_was_stored(tmp_path, saved):
    network = checkpoints.open_checkpoint(saved.path).network()
    images = torch.randn(4, 3, 32, 32)
    state = checkpoints.to_half_precision(network)
    again = checkpoints.save_checkpoint(tmp_path / "copy", state, saved.card, saved.logits())
    assert again.sha256 == saved.sha256
    assert torch.equal(again.network()(images), network(images))
    assert np.array_equal(again.logits(), saved.logits())
    assert (again.logits().dtype, again.logits().shape) == (np.float32, (120, 10))
    state = safetensors.torch.load_file(again.path / "weights.safetensors")
    assert {tensor.dtype for tensor in state.values()} == {torch.float16}
    assert not any(key.endswith("num_batches_tracked") for key in state)
    assert not network.training
    assert all(p.dtype == torch.float32 and not p.requires_grad for p in network.parameters())
    assert sorted(path.name for path in again.path.iterdir()) == ["card.json", "test_logits.npz", "weights.safetensors"]


def test_altered_weights_are_refused(saved):
    with open(saved.path / "weights.safetensors", "ab") as file:
        file.write(b"\0")
    with pytest.raises(CheckpointError, match=r"weights\.safetensors .*SHA-256"):
        checkpoints.open_checkpoint(saved.path).network()


def _set(key, value):
    return lambda state: state.update({key: value})


FORGED = {
    "a key is missing": (lambda state: state.pop("fc.bias"), r"lacks 'fc\.bias'"),
    "a key too many": (_set("fc.extra", torch.zeros(1)), r"unknown 'fc\.extra'"),
    "a wrong shape": (_set("fc.bias", torch.zeros(11)), r"fc\.bias has shape \(11,\).*needs \(10,\)"),
    "whole numbers": (_set("fc.bias", torch.zeros(10, dtype=torch.int32)), r"fc\.bias is torch\.int32"),
    "not a number": (_set("fc.bias", torch.full((10,), torch.nan)), r"fc\.bias contains values that are not finite"),
    "beyond float32": (_set("fc.bias", torch.full((10,), 1e300, dtype=torch.float64)), r"fc\.bias.*not finite"),
}


@pytest.mark.parametrize(("change", "words"), FORGED.values(), ids=FORGED)
def test_forged_weights_are_refused_and_named(saved, change, words):
    state = safetensors.torch.load_file(saved.path / "weights.safetensors")
    change(state)
    replace_weights(saved, safetensors.torch.save(state))
    with pytest.raises(CheckpointError, match=words):
        checkpoints.open_checkpoint(saved.path).network()


UNKNOWN = b'{"a":{"dtype":"F4","shape":[8],"data_offsets":[0,4]}}'  # which torch has not
LIES = [(2**63).to_bytes(8, "little") + b"{}", len(UNKNOWN).to_bytes(8, "little") + UNKNOWN + bytes(4)]
"""Headers of safetensors with a length that nothing has, and with an unknown type."""


def test_a_pickle_in_disguise_a_header_that_lies_or_half_a_file_is_refused_and_does_not_fire(saved, tmp_path):
    fired, logits = tmp_path / "fired", saved.path / "test_logits.npz"
    truncated = [(saved.path / name).read_bytes()[:300] for name in (logits.name, "weights.safetensors")]
    torch.save(Marker(fired), tmp_path / "net.pt")
    np.savez(logits, logits=np.array([[Marker(fired)] * 10], dtype=object))
    forged = (pickle.dumps(Marker(fired)), (tmp_path / "net.pt").read_bytes(), logits.read_bytes(), *truncated)
    for data in (*forged, *LIES):
        replace_weights(saved, data)
        with pytest.raises(CheckpointError, match="not a readable safetensors"):
            checkpoints.open_checkpoint(saved.path).network()
        logits.write_bytes(data)
        with pytest.raises(CheckpointError, match=r"test_logits\.npz (cannot be read|contains)"):
            saved.logits()
    assert not fired.exists()


def test_huge_weights_and_logits_that_unpack_to_gigabytes_are_refused_before_they_do(saved, monkeypatch):
    path = saved.path / "test_logits.npz"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("logits.npy", "w") as file:
        np.lib.format.write_array_header_1_0(file, {"descr": "<f2", "fortran_order": False, "shape": (2**26, 10)})
        file.write(bytes(2**20))
    monkeypatch.setattr(checkpoints, "MAX_LOGITS_BYTES", 2**20)
    with pytest.raises(CheckpointError, match="unpacks to more"):
        saved.logits()
    monkeypatch.setattr(checkpoints, "MAX_WEIGHTS_BYTES", 10)
    with pytest.raises(CheckpointError, match="more than 10 bytes"):
        saved.network()


@pytest.mark.parametrize("put", [lambda path: None, os.mkfifo], ids=["nothing", "a FIFO"])
def test_without_a_file_of_weights_or_logits_both_say_so(saved, put):
    for name, read in (("weights.safetensors", saved.network), ("test_logits.npz", saved.logits)):
        (saved.path / name).unlink()
        put(saved.path / name)
        with pytest.raises(CheckpointError, match=rf"{name} cannot be read"):
            read()


@pytest.mark.parametrize(
    "arrays",
    [{"other": np.zeros((5, 10))}, {"logits": np.zeros((5, 9))}, {"logits": np.zeros(10)},
     {"logits": np.zeros((5, 10), dtype=int)}, {"logits": np.full((5, 10), np.nan)}],
    ids=["another key", "nine classes", "one dimension", "whole numbers", "not a number"],
)  # fmt: skip
def test_other_arrays_are_not_logits(saved, arrays):
    np.savez(saved.path / "test_logits.npz", **arrays)
    with pytest.raises(CheckpointError, match=r"test_logits\.npz"):
        saved.logits()


@pytest.mark.parametrize(
    ("odd", "words"),
    [(torch.zeros(10).to_sparse(), r"is .*plain numbers"), (torch.zeros(10, device="meta"), r"is .*plain numbers"),
     (torch.zeros(1).expand(10**6, 10**6), "has shape")],  # for which it has no numbers
)  # fmt: skip
def test_tensors_that_hold_no_plain_numbers_are_refused(tmp_path, odd, words):
    torch.save(build("resnet8", seed=0).state_dict() | {"fc.bias": odd}, tmp_path / "net.pth")
    state = read_weights(tmp_path / "net.pth")
    with pytest.raises(CheckpointError, match=rf"fc\.bias {words}"):
        network_from_state("resnet8", state, 10, "net.pth")


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
        lambda: path.unlink() or path.mkdir(),
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


@pytest.mark.parametrize(
    "save",
    [torch.save, lambda state, path: torch.save(dict(zip(state, torch.zeros(len(state)), strict=True)), path),
     lambda state, path: torch.save(state, path, _use_new_zipfile_serialization=False),
     lambda state, path: safetensors.torch.save_file(state, path)],
    ids=["PyTorch", "views of one tensor", "PyTorch before 1.6", "safetensors"],
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


TWICE = {"fc.bias": torch.zeros(1), "module.fc.bias": torch.ones(1)}


@pytest.mark.parametrize("content", [[1, 2], {"a": 1}, {0: torch.zeros(1)}, torch.zeros(3), TWICE])
def test_a_file_without_names_and_tensors_or_with_the_same_weights_twice_is_refused(tmp_path, content):
    torch.save(content, tmp_path / "net.pth")
    with pytest.raises(CheckpointError, match="the same weights twice" if content is TWICE else "state dict"):
        read_weights(tmp_path / "net.pth")


def test_the_list_has_the_largest_first_then_by_objective_and_skips_unreadable(own, make_checkpoint):
    for name, preset in {"b": "combined", "c": "feature", "d": "response", "z": "scratch"}.items():
        make_checkpoint(own / name, objective=PRESETS[preset])
    make_checkpoint(own / "t", "resnet20")
    make_checkpoint(own / "y", objective=None)
    (own / "empty").mkdir()
    (own / "file").touch()
    make_checkpoint(own / "broken")
    (own / "broken" / "card.json").write_text("{}")
    assert [checkpoint.name for checkpoint in bundled_checkpoints()] == ["t", "y", "z", "d", "c", "b"]
    assert checkpoints.list_checkpoints(own / "nowhere") == []


def test_the_bundled_networks_are_readable_and_match_their_cards():
    found = bundled_checkpoints()
    assert [checkpoint.path.name for checkpoint in found] == [checkpoint.name for checkpoint in found]
    assert {checkpoint.name for checkpoint in found} == {path.name for path in checkpoints.bundled_root().iterdir()}
    for checkpoint in found:
        assert sum(parameter.numel() for parameter in checkpoint.network().parameters()) == checkpoint.card.parameters
        assert checkpoint.logits().shape == (checkpoint.card.data.evaluation_images, len(checkpoint.classes))


def test_a_checkpoint_is_found_by_name_by_run_and_student_and_folder(own, runs_root, make_checkpoint):
    bundled = make_checkpoint(own / "net")
    student = make_checkpoint(runs_root / "20260101-000000-lab-0000" / "net", seed=1)
    assert find_checkpoint("net") == bundled
    assert find_checkpoint("20260101-000000-lab-0000/net") == student
    assert find_checkpoint(str(student.path)) == student
    for name in ("", "nothing", "../net", "net/net", "x" * 5000, "run\0", "net/card.json"):
        with pytest.raises(ConfigError, match="Bundled: net;"):
            find_checkpoint(name)
    (own / "net" / "card.json").write_text("{}")
    with pytest.raises(CheckpointError):
        find_checkpoint("net")


@pytest.mark.parametrize("examples", [40, pytest.param(5000, marks=pytest.mark.reliability)])
def test_a_mutated_checkpoint_is_usable_or_refused(saved, examples, reliability):
    """Weights whose hash the forger fits, logits, cards, and a PyTorch file."""
    torch.save(saved.network().state_dict(), saved.path / "net.pth")
    files = {path.name: path.read_bytes() for path in saved.path.iterdir()}

    @settings(max_examples=examples, deadline=None, suppress_health_check=list(HealthCheck), database=None)
    @given(st.sampled_from(sorted(files)), st.data())
    def search(name, data):
        content = data.draw(mutated(files[name], sorted(files.values())))
        for other, good in (files | {name: content}).items():
            (saved.path / other).write_bytes(good)
        reliability["checkpoints tried"] += 1
        try:
            if name == "net.pth":
                network = network_from_state("resnet8", read_weights(saved.path / name), 10, name)
            else:
                if name == "weights.safetensors":
                    replace_weights(saved, content)  # with their hash on the card
                opened = checkpoints.open_checkpoint(saved.path)
                assert np.isfinite(opened.logits()).all()
                network = opened.network()
            assert all(torch.isfinite(p).all() for p in network.parameters())
        except (CheckpointError, ConfigError):  # an architecture that is in no registry, as without its plugin
            reliability["checkpoints refused"] += 1

    search()


@pytest.mark.parametrize(
    ("holdouts", "split", "seen"),
    [([0], "test", False), ([None, 0], "test", True), ([500, 0], "test", False), ([500, 0, 0], "test", True),
     ([0, 500], "holdout", False)],
)  # fmt: skip
def test_training_continued_in_view_of_test_figures_unless_they_were_of_held_out_images(saved, holdouts, split, seen):
    legs = [{"epochs": 1, "recipe": {} if count is None else {"holdout": count}} for count in holdouts]
    edit_card(saved, legs=legs, data={"dataset": "synthetic", "evaluation_split": split, "evaluation_images": 120})
    assert checkpoints.open_checkpoint(saved.path).card.continued_in_view == seen


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"sha256": ...}, "sha256"),
        ({"version": 3}, "version"),
        ({"name": "../evil"}, "name"),
        ({"architecture": "../resnet8"}, "architecture: .*resnet8.*'../resnet8'"),
        ({"normalization": {"mean": [0, 0, 0], "std": [1, 1, 0]}}, "normalization.std.2: .*greater than 0"),
        ({"normalization": {"mean": [0, 0, 10**400], "std": [1, 1, 1]}}, "normalization.mean.2"),
        ({"objective": {"terms": [{"method": "<magic>"}]}}, "objective.terms.0: .*'<magic>'.*kd"),
        ({"objective": {"terms": [{"method": "magic", "weight": 0}]}}, "objective.terms.0.weight"),
        ({"objective": {"terms": [{"method": "magic", "x": "{"}]}}, "objective.terms.0.x"),
        ({"objective": {"terms": [{"method": "kd", "temperature": 0}]}}, "objective.terms.0.kd.temperature"),
        ({"legs": [{"epochs": 1, "history": [{"epoch": 0}] * 1001}]}, "legs.0.history"),
        ({"test_terms": {str(number): 1.0 for number in range(257)}}, "test_terms"),
    ],
    ids=str,
)
def test_an_invalid_card_is_refused_with_the_field(saved, changes, field):
    edit_card(saved, **changes)
    with pytest.raises(CheckpointError, match=rf"card\.json: {field}"):
        checkpoints.open_checkpoint(saved.path)
    assert checkpoints.list_checkpoints(saved.path.parent) == []
