"""Checkpoints: what comes back, and everything that is refused before it is used."""

import hashlib
import json
import pickle
import zipfile

import numpy as np
import pytest
import safetensors.torch
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kdexplorer import checkpoints, models
from kdexplorer.errors import CheckpointError


class Marker:
    """Unpickled, it leaves a file: the harmless twin of code that runs."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


@pytest.fixture
def saved(tmp_path, make_checkpoint):
    logits = np.random.default_rng(0).normal(size=(120, 10))
    return make_checkpoint(tmp_path / "net", logits=logits)


def edit_card(checkpoint, **changes):
    path = checkpoint.path / "card.json"
    card = json.loads(path.read_text()) | changes
    path.write_text(json.dumps({key: value for key, value in card.items() if value is not ...}))


def edit_weights(checkpoint, change, vouch=True):
    """Rewrites the weights after `change(state)`; with `vouch` the card's hash fits, as a forger's would."""
    state = safetensors.torch.load_file(checkpoint.path / "weights.safetensors")
    change(state)
    replace_weights(checkpoint, safetensors.torch.save(state), vouch)


def replace_weights(checkpoint, data, vouch=True):
    (checkpoint.path / "weights.safetensors").write_bytes(data)
    if vouch:
        edit_card(checkpoint, sha256=hashlib.sha256(data).hexdigest())


def reopened(checkpoint):
    return checkpoints.open_checkpoint(checkpoint.path)


# --- The way there and back -------------------------------------------------------------------------------


def test_a_checkpoint_comes_back_as_it_was_stored(tmp_path, saved):
    network = reopened(saved).network()
    images = torch.randn(4, 3, 32, 32)
    again = checkpoints.save(tmp_path / "copy", checkpoints.half_precision(network), saved.card, saved.logits())
    assert again.sha256 == saved.sha256
    assert torch.equal(again.network()(images), network(images))
    assert np.array_equal(again.logits(), saved.logits())
    assert (again.logits().dtype, again.logits().shape) == (np.float32, (120, 10))
    assert not network.training
    assert all(p.dtype == torch.float32 and not p.requires_grad for p in network.parameters())
    assert sorted(path.name for path in again.path.iterdir()) == ["card.json", "test_logits.npz", "weights.safetensors"]


def test_stored_weights_are_float16_without_counters(saved):
    state = safetensors.torch.load_file(saved.path / "weights.safetensors")
    assert {tensor.dtype for tensor in state.values()} == {torch.float16}
    assert not any(key.endswith("num_batches_tracked") for key in state)
    assert hashlib.sha256((saved.path / "weights.safetensors").read_bytes()).hexdigest() == saved.card["sha256"]


def test_weights_beyond_float16_are_refused_when_they_are_saved():
    network = models.build("resnet8", seed=0)
    network.bn1.running_var[0] = 1e5
    with pytest.raises(CheckpointError, match=r"bn1\.running_var.*float16"):
        checkpoints.half_precision(network)


def test_a_checkpoint_without_logits_says_so(tmp_path, make_checkpoint):
    checkpoint = make_checkpoint(tmp_path / "net")
    with pytest.raises(CheckpointError, match=r"test_logits\.npz"):
        checkpoint.logits()


# --- Weights that are refused -----------------------------------------------------------------------------


@pytest.mark.parametrize("vouch", [False, True])
@pytest.mark.parametrize("keep", [0.0, 0.3, 0.99])
def test_truncated_weights_are_refused(saved, keep, vouch):
    data = (saved.path / "weights.safetensors").read_bytes()
    replace_weights(saved, data[: int(keep * len(data))], vouch)
    words = "not a readable safetensors" if vouch else "SHA-256"
    with pytest.raises(CheckpointError, match=words):
        reopened(saved).network()


def test_altered_weights_are_refused(saved):
    edit_weights(saved, lambda state: state["fc.bias"].add_(1), vouch=False)
    with pytest.raises(CheckpointError, match=r"weights\.safetensors is not the file that its card describes"):
        reopened(saved).network()


def _set(key, value):
    return lambda state: state.update({key: value})


FORGED = {
    "a key is missing": (lambda state: state.pop("fc.bias"), r"lacks 'fc\.bias'"),
    "a key too many": (_set("fc.extra", torch.zeros(1)), r"unknown 'fc\.extra'"),
    "a wrong shape": (_set("fc.bias", torch.zeros(11)), r"fc\.bias has shape \(11,\).*needs \(10,\)"),
    "a transposed matrix": (_set("fc.weight", torch.zeros(64, 10)), r"fc\.weight has shape"),
    "whole numbers": (_set("fc.bias", torch.zeros(10, dtype=torch.int32)), r"fc\.bias is torch\.int32"),
    "complex numbers": (_set("fc.bias", torch.zeros(10, dtype=torch.complex64)), r"fc\.bias is torch\.complex64"),
    "not a number": (_set("fc.bias", torch.full((10,), torch.nan)), r"fc\.bias holds values that are not finite"),
    "infinity": (_set("bn1.running_var", torch.full((16,), torch.inf)), r"bn1\.running_var.*not finite"),
    "beyond float32": (_set("fc.bias", torch.full((10,), 1e300, dtype=torch.float64)), r"fc\.bias.*not finite"),
}


@pytest.mark.parametrize(("change", "words"), FORGED.values(), ids=FORGED)
def test_forged_weights_are_refused_and_named(saved, change, words):
    edit_weights(saved, change)
    with pytest.raises(CheckpointError, match=words):
        reopened(saved).network()


def test_weights_of_another_architecture_are_refused(saved):
    edit_card(saved, architecture="resnet20")
    with pytest.raises(CheckpointError, match="is not a resnet20: it lacks"):
        reopened(saved).network()


def test_nothing_is_half_loaded(saved, monkeypatch):
    """The last key in order is wrong: no weight may have reached a network by then."""
    last = max(safetensors.torch.load_file(saved.path / "weights.safetensors"))
    edit_weights(saved, lambda state: state[last].fill_(torch.nan))
    loads = []
    monkeypatch.setattr(torch.nn.Module, "load_state_dict", lambda *_, **__: loads.append(1))
    with pytest.raises(CheckpointError, match="not finite"):
        reopened(saved).network()
    assert loads == []


def test_a_pickle_in_disguise_is_refused_and_does_not_fire(saved, tmp_path):
    fired = tmp_path / "fired"
    replace_weights(saved, pickle.dumps(Marker(fired)))
    with pytest.raises(CheckpointError, match="not a readable safetensors"):
        reopened(saved).network()
    torch.save(Marker(fired), saved.path / "weights.safetensors")
    replace_weights(saved, (saved.path / "weights.safetensors").read_bytes())
    with pytest.raises(CheckpointError, match="not a readable safetensors"):
        reopened(saved).network()
    assert not fired.exists()


@pytest.mark.parametrize(
    "header", [b"{}", b"[]", b'{"fc.bias": 3}', b'{"fc.bias":{"dtype":"F32","shape":[10],"data_offsets":[0,40]}}']
)
def test_a_forged_safetensors_header_is_refused(saved, header):
    replace_weights(saved, len(header).to_bytes(8, "little") + header)
    with pytest.raises(CheckpointError):
        reopened(saved).network()


A_KEY = b'"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}'


def header(claimed, text):
    return claimed.to_bytes(8, "little") + text


@pytest.mark.parametrize(
    "content",
    [
        header(2**63, b"{}"),
        header(2**40, b"{}"),
        header(99_999_999, b"{" + b" " * 1000),
        header(200_000, b"[" * 200_000),
        header(2, b"{}") + b"\0" * 100,
        header(120, b"{%s,%s}".replace(b"%s", A_KEY).ljust(120)) + b"\0" * 4,
        header(78, b'{"a":{"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,4]}}'.ljust(78)) + b"\0" * 4,
        header(60, b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[-4,4]}}'.ljust(60)) + b"\0" * 4,
    ],
    ids=["exabytes", "terabytes", "cut", "nested", "empty", "a key twice", "overflowing", "before the file"],
)  # fmt: skip
def test_a_header_that_lies_is_refused(saved, content):
    replace_weights(saved, content)
    with pytest.raises(CheckpointError):
        reopened(saved).network()


def test_logits_that_unpack_to_gigabytes_are_refused_before_they_do(saved):
    path = saved.path / "test_logits.npz"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("logits.npy", "w") as file:
        np.lib.format.write_array_header_1_0(file, {"descr": "<f2", "fortran_order": False, "shape": (2**26, 10)})
        for _ in range(80):
            file.write(bytes(2**20))
    assert path.stat().st_size < 2**20
    with pytest.raises(CheckpointError, match="unpacks to more"):
        saved.logits()


def test_an_array_header_that_lies_is_refused(saved):
    with zipfile.ZipFile(saved.path / "test_logits.npz", "w") as archive, archive.open("logits.npy", "w") as file:
        np.lib.format.write_array_header_1_0(file, {"descr": "<f2", "fortran_order": False, "shape": (2**50, 10)})
    with pytest.raises(CheckpointError, match=r"test_logits\.npz cannot be read"):
        saved.logits()


def test_missing_or_huge_weights_are_refused(saved, monkeypatch):
    monkeypatch.setattr(checkpoints, "MAX_BYTES", 10)
    with pytest.raises(CheckpointError, match="over 1 GiB"):
        saved.network()
    (saved.path / "weights.safetensors").unlink()
    with pytest.raises(CheckpointError, match=r"weights\.safetensors cannot be read"):
        saved.network()


# --- Logits that are refused ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "arrays",
    [
        {"other": np.zeros((5, 10))},
        {"logits": np.zeros((5, 9))},
        {"logits": np.zeros(10)},
        {"logits": np.zeros((5, 10), dtype=int)},
        {"logits": np.full((5, 10), np.nan)},
    ],
    ids=["another key", "nine classes", "one dimension", "whole numbers", "not a number"],
)
def test_other_arrays_are_not_logits(saved, arrays):
    np.savez(saved.path / "test_logits.npz", **arrays)
    with pytest.raises(CheckpointError, match=r"test_logits\.npz"):
        saved.logits()


def test_pickled_logits_are_refused_and_do_not_fire(saved, tmp_path):
    fired, path = tmp_path / "fired", saved.path / "test_logits.npz"
    np.savez(path, logits=np.array([[Marker(fired)] * 10], dtype=object))
    with pytest.raises(CheckpointError, match=r"test_logits\.npz"):
        saved.logits()
    path.write_bytes(pickle.dumps(Marker(fired)))
    with pytest.raises(CheckpointError, match=r"test_logits\.npz"):
        saved.logits()
    assert not fired.exists()


def test_truncated_logits_are_refused(saved):
    path = saved.path / "test_logits.npz"
    path.write_bytes(path.read_bytes()[:300])
    with pytest.raises(CheckpointError, match=r"test_logits\.npz cannot be read"):
        saved.logits()


# --- Cards that are refused -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        *[({key: ...}, f"'{key}' is missing") for key in checkpoints.REQUIRED],
        ({"name": "../evil"}, "the name takes"),
        ({"name": "a/b"}, "the name takes"),
        ({"architecture": "resnet9"}, "no architecture 'resnet9'.*resnet8"),
        ({"architecture": "__class__"}, "no architecture"),
        ({"parameters": True}, "'parameters'"),
        ({"parameters": "75290"}, "'parameters'"),
        ({"classes": ["one"]}, "classes"),
        ({"classes": [1, 2, 3]}, "classes"),
        ({"classes": ["x"] * 1001}, "classes"),
        ({"normalisation": {}}, "normalisation"),
        ({"normalisation": {"mean": [0, 0, 0], "std": [1, 1]}}, "normalisation"),
        ({"normalisation": {"mean": [0, 0, 0], "std": [1, 1, 0]}}, "above 0"),
        ({"normalisation": {"mean": [0, 0, "0"], "std": [1, 1, 1]}}, "normalisation"),
        ({"normalisation": {"mean": [0, 0, float("nan")], "std": [1, 1, 1]}}, "normalisation"),
        ({"test_accuracy": float("nan")}, "'test_accuracy' is not a finite"),
        ({"test_accuracy": 91.5}, "'test_accuracy' is not between 0 and 1"),
        ({"test_cross_entropy": float("inf")}, "'test_cross_entropy'"),
        ({"method": ["scratch"]}, "'method'"),
        ({"normalisation": {"mean": [0, 0, 10**400], "std": [1, 1, 1]}}, "normalisation"),
        ({"data": "cifar10"}, "'data'"),
        ({"data": None}, "'data'"),
        ({"data": {"measured_images": 0}}, "'data'.*how many images"),
        ({"data": {"measured_images": "many"}}, "'data'.*how many images"),
    ],
)
def test_a_card_that_is_not_in_order_is_refused(saved, changes, words):
    edit_card(saved, **changes)
    with pytest.raises(CheckpointError, match=words):
        reopened(saved)
    assert checkpoints.listed(saved.path.parent) == []


@pytest.mark.parametrize("garbage", [b"", b"{", b"[]", b"\xff\xfe", b"[" * 100_000, pickle.dumps({"name": "x"})])
def test_a_card_that_is_garbage_is_refused(saved, garbage):
    (saved.path / "card.json").write_bytes(garbage)
    with pytest.raises(CheckpointError, match=r"no readable card\.json"):
        reopened(saved)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.just(10**400),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(["mean", "std", "x"]), inner),
    max_leaves=6,
)


@given(st.data())
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_card_is_either_usable_or_refused(saved, data):
    """One bad folder must not take the whole list down."""
    good = json.loads((saved.path / "card.json").read_text())
    key = data.draw(st.sampled_from(sorted({*good, *checkpoints.OPTIONAL, "data"})))
    (saved.path / "card.json").write_text(json.dumps(good | {key: data.draw(JSON)}))
    try:
        assert [c.card[key] for c in checkpoints.listed(saved.path.parent)] in ([], [reopened(saved).card[key]])
    except CheckpointError:
        assert checkpoints.listed(saved.path.parent) == []
    finally:
        (saved.path / "card.json").write_text(json.dumps(good))


# --- Lists, and weights from elsewhere --------------------------------------------------------------------


def test_the_list_has_the_largest_first_then_by_method_and_skips_the_unreadable(tmp_path, monkeypatch, make_checkpoint):
    for name, architecture, method in [
        ("b", "resnet8", "combined"),
        ("a", "resnet8", "response"),
        ("z", "resnet8", "scratch"),
        ("t", "resnet20", "scratch"),
    ]:
        make_checkpoint(tmp_path / name, architecture, method=method)
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").touch()
    make_checkpoint(tmp_path / "broken")
    (tmp_path / "broken" / "card.json").write_text("{}")
    monkeypatch.setenv("KDEXPLORER_CHECKPOINTS", str(tmp_path))
    assert [checkpoint.name for checkpoint in checkpoints.bundled()] == ["t", "z", "a", "b"]
    assert checkpoints.listed(tmp_path / "nowhere") == []


@pytest.mark.parametrize("wrap", [lambda s: s, lambda s: {"state_dict": s}, lambda s: {"module." + k: s[k] for k in s}])
def test_weights_from_elsewhere_are_read_without_unpickling(tmp_path, wrap):
    network = models.build("resnet8", seed=3)
    torch.save(wrap(network.state_dict()), tmp_path / "net.pth")
    state = checkpoints.import_weights(tmp_path / "net.pth", "resnet8")
    loaded = checkpoints.network_from_state("resnet8", state, 10, "net.pth")
    assert all(torch.equal(a, b) for a, b in zip(loaded.parameters(), network.parameters(), strict=True))


def test_safetensors_from_elsewhere_are_read(tmp_path):
    safetensors.torch.save_file({"fc.bias": torch.arange(10.0)}, tmp_path / "net.safetensors")
    assert checkpoints.import_weights(tmp_path / "net.safetensors", "resnet8")["fc.bias"].tolist() == list(range(10))


def test_tensors_that_hold_no_plain_numbers_are_refused(tmp_path):
    network = models.build("resnet8", seed=0)
    for odd in (torch.zeros(10).to_sparse(), torch.zeros(10, device="meta")):
        torch.save(network.state_dict() | {"fc.bias": odd}, tmp_path / "net.pth")
        state = checkpoints.import_weights(tmp_path / "net.pth", "resnet8")
        with pytest.raises(CheckpointError, match=r"fc\.bias is .*plain numbers"):
            checkpoints.network_from_state("resnet8", state, 10, "net.pth")


def test_a_tensor_that_claims_a_shape_it_has_no_numbers_for_is_refused(tmp_path):
    network = models.build("resnet8", seed=0)
    torch.save(network.state_dict() | {"fc.bias": torch.zeros(1).expand(10**6, 10**6)}, tmp_path / "net.pth")
    state = checkpoints.import_weights(tmp_path / "net.pth", "resnet8")
    with pytest.raises(CheckpointError, match=r"fc\.bias has shape"):
        checkpoints.network_from_state("resnet8", state, 10, "net.pth")


def test_the_same_weights_twice_are_refused(tmp_path):
    torch.save({"fc.bias": torch.zeros(1), "module.fc.bias": torch.ones(1)}, tmp_path / "net.pth")
    with pytest.raises(CheckpointError, match="the same weights twice"):
        checkpoints.import_weights(tmp_path / "net.pth", "resnet8")


# --- Mutations --------------------------------------------------------------------------------------------


@st.composite
def accidents(draw):
    """What happens to the bytes of a file: where (as a share of its length), what, and how much."""
    place, width = st.floats(0, 1), st.sampled_from([1, 1, 4, 16, 300])
    kind = st.sampled_from(["flip", "zero", "ones", "drop", "again", "cut"])
    return draw(st.lists(st.tuples(place, kind, width), min_size=1, max_size=4))


def mutated(data, accidents):
    data = bytearray(data)
    for place, kind, width in accidents:
        at = int(place**3 * len(data))  # headers are at the beginning
        part = data[at : at + width]
        data[at : at + width] = {
            "flip": bytes(byte ^ 0x10 for byte in part),
            "zero": bytes(len(part)),
            "ones": b"\xff" * len(part),
            "drop": b"",
            "again": part * 2,
            "cut": part,
        }[kind]
        if kind == "cut":
            del data[at + width :]
    return bytes(data)


def hunt(saved, examples, reliability):
    """Usable or refused: weights whose hash the forger fits, logits, cards, and a PyTorch file."""
    files = {name: (saved.path / name).read_bytes() for name in ("weights.safetensors", "test_logits.npz", "card.json")}
    foreign = saved.path.parent / "net.pth"
    torch.save(saved.network().state_dict(), foreign)
    files["net.pth"] = foreign.read_bytes()
    card = json.loads(files["card.json"])

    @settings(max_examples=examples, deadline=None, suppress_health_check=list(HealthCheck), database=None)
    @given(st.sampled_from(sorted(files)), accidents())
    def search(name, what):
        content = mutated(files[name], what)
        for other, good in files.items():
            ((saved.path if other != "net.pth" else saved.path.parent) / other).write_bytes(good)
        reliability["checkpoints tried"] += 1
        try:
            if name == "net.pth":
                foreign.write_bytes(content)
                state = checkpoints.import_weights(foreign, "resnet8")
                network = checkpoints.network_from_state("resnet8", state, 10, "net.pth")
            else:
                (saved.path / name).write_bytes(content)
                if name == "weights.safetensors":
                    forged = card | {"sha256": hashlib.sha256(content).hexdigest()}
                    (saved.path / "card.json").write_text(json.dumps(forged))
                opened = reopened(saved)
                assert np.isfinite(opened.logits()).all()
                network = opened.network()
            assert all(torch.isfinite(p).all() for p in network.parameters())
        except CheckpointError:
            reliability["checkpoints refused"] += 1

    search()


def test_a_mutated_checkpoint_is_usable_or_refused(saved, reliability):
    hunt(saved, 40, reliability)


@pytest.mark.reliability
def test_thousands_of_mutated_checkpoints_are_usable_or_refused(saved, reliability):
    hunt(saved, 5000, reliability)


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
        with pytest.raises(CheckpointError, match="not a plain file of weights"):
            checkpoints.import_weights(path, "resnet8")
    assert not fired.exists()


@pytest.mark.parametrize("content", [[1, 2], {"a": 1}, {0: torch.zeros(1)}, torch.zeros(3)])
def test_a_file_without_names_and_tensors_is_refused(tmp_path, content):
    torch.save(content, tmp_path / "net.pth")
    with pytest.raises(CheckpointError, match="does not hold a state dict"):
        checkpoints.import_weights(tmp_path / "net.pth", "resnet8")
    with pytest.raises(CheckpointError, match="not a plain file"):
        checkpoints.import_weights(tmp_path / "missing.pth", "resnet8")
