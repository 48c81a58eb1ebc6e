"""Networks that are evaluated again, once after a choice, or imported from elsewhere."""

import numpy as np
import pytest
import torch

from kdexplorer.analysis import evaluate, metrics
from kdexplorer.analysis.evaluate import find_better_normalization, import_checkpoint, measure_after_choice
from kdexplorer.analysis.inference import predict_batches
from kdexplorer.datasets import Normalization, get_dataset
from kdexplorer.errors import CheckpointError, ConfigError, DataError
from kdexplorer.networks import build
from kdexplorer.runs.checkpoints import find_checkpoint, open_checkpoint
from kdexplorer.runs.run_folder import imported_root


def test_what_was_chosen_on_held_out_images_is_measured_once(tmp_path, make_checkpoint, tiny, monkeypatch):
    data = {"dataset": "synthetic", "evaluation_split": "holdout", "evaluation_images": 60}
    held, split = make_checkpoint(tmp_path / "held", data=data), get_dataset("synthetic").load("test")
    with pytest.raises(DataError, match=r"not evaluated on the test split.* --after-choice"):
        evaluate.evaluate_checkpoint(str(held.path))
    found = measure_after_choice(held)
    logits = predict_batches(held.network(), split.images, held.card.normalization).astype(np.float16)
    assert (found.images, found.accuracy) == (60, metrics.accuracy(logits, split.labels))
    assert found.cross_entropy == pytest.approx(metrics.cross_entropy(logits, split.labels))
    recorded = open_checkpoint(held.path)
    assert recorded.card == held.card.model_copy(update={"after_choice": found})
    monkeypatch.setattr(type(held), "network", lambda self: pytest.fail("it is measured once"))
    assert measure_after_choice(recorded) == found
    assert f"{100 * found.accuracy:.2f} %" in evaluate.format_after_choice("a", found)
    with pytest.raises(DataError, match="leave out --after-choice"):
        measure_after_choice(make_checkpoint(tmp_path / "on-test"))


@pytest.fixture
def published(tmp_path):
    """A bundled network as a public repository with option-A shortcuts saves one: file and own checkpoint."""
    checkpoint = find_checkpoint("resnet8-feature")
    state = checkpoint.network().state_dict()
    renamed = {f"module.{key.replace('fc.', 'linear.')}": tensor for key, tensor in state.items()}
    torch.save({"state_dict": {"model_state_dict": renamed}, "best_prec1": 91.7}, tmp_path / "resnet8.th")
    return tmp_path / "resnet8.th", checkpoint


@pytest.fixture
def first_test_images(monkeypatch):
    split, cifar10 = get_dataset("cifar10-small").load("test").take(np.arange(200)), type(get_dataset("cifar10"))
    monkeypatch.setattr(cifar10, "load", lambda self, name: split)
    monkeypatch.setattr(cifar10, "is_available", lambda self: True)
    return split


def assert_same(logits, original, split):
    """The bits of the original network here, and up to a step of float16 what another processor has stored of it."""
    here = predict_batches(original.network(), split.images, original.card.normalization).astype(np.float16)
    np.testing.assert_array_equal(logits, here)
    np.testing.assert_allclose(np.float32(logits), np.float32(original.logits()[: len(logits)]), rtol=2**-10)


def test_other_names_score_the_same_and_a_better_normalization_is_found(tmp_path, published, first_test_images):
    path, original = published
    own = original.card.normalization
    checkpoint = import_checkpoint(path, "resnet8", "theirs", tmp_path, own)
    assert_same(checkpoint.logits(), original, first_test_images)
    assert checkpoint.card.test_accuracy > 0.8
    assert find_better_normalization(checkpoint) is None
    near = Normalization(mean=tuple(value + 0.004 for value in own.mean), std=own.std)  # worse only by chance
    assert find_better_normalization(import_checkpoint(path, "resnet8", "near", tmp_path, near)) is None
    checkpoint = import_checkpoint(path, "resnet8", "other", tmp_path, Normalization(mean=(0.1,) * 3, std=(1,) * 3))
    sentence = find_better_normalization(checkpoint)
    assert "the mean and std of CIFAR-10 it" in sentence
    better = metrics.accuracy(original.logits()[:200], first_test_images.labels)
    assert better > checkpoint.card.test_accuracy
    assert f"{100 * better:.2f} instead of {100 * checkpoint.card.test_accuracy:.2f} % of the first 200" in sentence
    assert "--mean {} {} {} --std".format(*evaluate.COMMON_NORMALIZATIONS["CIFAR-10"].mean) in sentence


def test_without_the_complete_test_split_weights_are_evaluated_on_the_bundled_one(tmp_path, published, command):
    path, original = published
    printed = command("import", str(path), "--architecture", "resnet8", "--name", "mine")
    assert "CIFAR-10 is missing: evaluated on 5,000 CIFAR-10 images" in printed.err
    assert "on 2,000 test images" in printed.out
    found = find_checkpoint(str(imported_root() / "mine"))
    assert_same(found.logits(), original, get_dataset("cifar10-small").load("test"))


def test_another_order_of_the_classes_is_brought_into_that_of_the_data(tmp_path, published, first_test_images):
    path, original = published
    classes = original.classes[::-1]
    state = original.network().state_dict()
    state |= {key: state[key].flip(0) for key in ("fc.weight", "fc.bias")}
    torch.save(state, path)
    checkpoint = import_checkpoint(path, "resnet8", "mine", tmp_path, classes=classes)
    assert checkpoint.classes == original.classes
    assert checkpoint.card.test_accuracy > 0.8
    with pytest.raises(ConfigError, match="not the 10 classes"):
        import_checkpoint(path, "resnet8", "other", tmp_path, classes=("a", "b"))


def test_a_head_of_another_size_is_named_as_such(tmp_path, first_test_images):
    state = {key.replace("fc.", "linear."): value for key, value in build("resnet8", 100).state_dict().items()}
    torch.save({f"_orig_mod.backbone.{key}": value for key, value in state.items()}, tmp_path / "hundred.pt")
    with pytest.raises(CheckpointError, match=r"has 100 classes, the data have 10"):
        import_checkpoint(tmp_path / "hundred.pt", "resnet8", "mine", tmp_path)


def test_names_are_exchanged_only_where_shapes_leave_no_doubt():
    state = {k: v for k, v in build("resnet18", seed=0).state_dict().items() if not k.endswith("num_batches_tracked")}
    theirs = {key.replace("downsample", "shortcut").replace("fc.", "linear."): value for key, value in state.items()}
    assert theirs.keys() != state.keys()
    assert evaluate.rename_by_shape("resnet18", theirs, 10).keys() == state.keys()
    swapped = {key.replace("conv1", "first").replace("conv2", "second"): value for key, value in state.items()}
    ours = {f"layer1.0.conv{number}.weight" for number in (1, 2)}
    assert not evaluate.rename_by_shape("resnet18", swapped, 10).keys() >= ours
