"""Batches: their order, crops, flips, size and normalization."""

import numpy as np
import pytest
import torch

from kdexplorer.datasets import Normalization, get_dataset
from kdexplorer.datasets.augmentation import augment, cut_out, epoch_order, normalize, resize
from kdexplorer.datasets.synthetic import draw_shapes

NOISE = np.random.default_rng(0).integers(0, 256, (12, 3, 32, 32), dtype=np.uint8)


def crops(indices=None, seed=0, epoch=0, step=0, padding=4, flip="random"):
    indices = np.arange(len(NOISE)) if indices is None else np.array(indices)
    return augment(torch.from_numpy(NOISE), indices, seed, epoch, step, padding, flip).numpy()


def windows(image, padding):
    """Every crop of the reflected image, as it is and mirrored: bytes -> (row, column, mirrored)."""
    padded = np.pad(image, ((0, 0), (padding, padding), (padding, padding)), mode="reflect")
    found = {}
    for row in range(2 * padding + 1):
        for column in range(2 * padding + 1):
            crop = padded[:, row : row + 32, column : column + 32]
            found[crop.tobytes()] = (row, column, False)
            found[np.ascontiguousarray(crop[:, :, ::-1]).tobytes()] = (row, column, True)
    return found


def test_a_crop_is_a_window_of_the_reflected_image_and_every_shift_occurs():
    places = []
    choices = [windows(image, 2) for image in NOISE]
    for step in range(40):
        places += [choices[index][image.tobytes()] for index, image in enumerate(crops(step=step, padding=2))]
    rows, columns, mirrored = (set(values) for values in zip(*places, strict=True))
    assert (rows, columns, mirrored) == (set(range(5)), set(range(5)), {False, True})
    assert len(set(places)) == 50


def test_augmentation_follows_from_seed_epoch_and_step_alone():
    batch = crops(seed=1, epoch=2, step=3)
    crops(seed=9)
    assert np.array_equal(crops(seed=1, epoch=2, step=3), batch)
    for change in ({"seed": 2}, {"epoch": 4}, {"step": 4}):
        assert not np.array_equal(crops(**({"seed": 1, "epoch": 2, "step": 3} | change)), batch)


def test_alternating_flips_show_each_image_either_way_in_turn():
    epochs = [crops(epoch=epoch, step=epoch, padding=0, flip="alternating") for epoch in range(4)]
    assert np.array_equal(epochs[1], epochs[0][..., ::-1])
    assert np.array_equal(epochs[2], epochs[0])
    assert np.array_equal(epochs[3], epochs[1])
    assert 2 <= sum(np.array_equal(image, original) for image, original in zip(epochs[0], NOISE, strict=True)) <= 10
    shuffled = [5, 0, 11]
    alone = crops(shuffled, step=7, padding=0, flip="alternating")
    assert np.array_equal(alone, epochs[0][shuffled])  # an image's turn does not depend on its place in a batch


def test_half_the_size_is_an_antialiased_tent_and_the_same_before_or_after_normalizing():
    """At half the size a pixel is the tent filter's (1, 3, 3, 1) / 8 of the four that it covers, in each direction."""
    image = torch.from_numpy(NOISE[:2])
    tent, expected = np.array([1, 3, 3, 1]) / 8, np.empty((2, 3, 14, 14))  # away from the rim
    for row in range(14):
        for column in range(14):
            window = NOISE[:2, :, 2 * row + 1 : 2 * row + 5, 2 * column + 1 : 2 * column + 5]
            expected[:, :, row, column] = np.einsum("bcij,i,j->bc", window, tent, tent)
    small = resize(image.float(), 16)
    np.testing.assert_allclose(small[:, :, 1:-1, 1:-1], expected, rtol=1e-5)
    normalization = get_dataset("cifar10").normalization
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (normalization.mean, normalization.std))
    normal = normalize(image, normalization)
    torch.testing.assert_close(normal, (image / 255 - mean) / std)
    after = resize(normal, 16)
    torch.testing.assert_close(after, (small / 255 - mean) / std, rtol=1e-4, atol=1e-5)
    assert after.is_contiguous(memory_format=torch.channels_last)


def test_an_epochs_order_is_a_permutation_and_each_epoch_and_seed_has_its_own():
    places = [(seed, epoch) for seed in (0, 1, 2**31 - 1) for epoch in (0, 1, 1000)]
    orders = [epoch_order(50, *place) for place in places]
    assert all(np.array_equal(np.sort(order), np.arange(50)) for order in orders)
    assert all(np.array_equal(epoch_order(50, *place), order) for place, order in zip(places, orders, strict=True))
    assert len({tuple(order) for order in orders}) == len(places)


def test_a_square_inside_the_image_is_cut_out_and_every_place_occurs():
    images = torch.zeros(1000, 3, 8, 10, dtype=torch.uint8)
    color = Normalization(mean=(7 / 255, 8 / 255, 9 / 255), std=(1, 1, 1))
    cut, places = cut_out(images, 4, color, 1000, slice(None), 0, 1, 2), set()
    for image in cut:
        rows, columns = image[0].any(dim=1).nonzero(), image[0].any(dim=0).nonzero()
        places.add((int(rows[0]), int(columns[0])))
        assert (len(rows), len(columns), int(image.count_nonzero())) == (4, 4, 3 * 16)
    assert cut.amax(dim=(0, 2, 3)).tolist() == [7, 8, 9]
    assert places == {(row, column) for row in range(5) for column in range(7)}
    part = slice(200, 300)
    assert torch.equal(cut_out(images[part], 4, color, 1000, part, 0, 1, 2), cut[part])
    assert torch.equal(cut_out(images, 4, color, 1000, slice(None), 0, 1, 2), cut)
    assert not torch.equal(cut_out(images, 4, color, 1000, slice(None), 0, 1, 3), cut)


@pytest.mark.parametrize("flip", ["alternating", "random", "none"])
def test_a_part_of_a_batch_is_what_the_whole_batch_has_there(flip):
    images = torch.from_numpy(draw_shapes(60).images)
    indices = epoch_order(60, seed=1, epoch=2)[:12]
    whole = augment(images, indices, 1, 2, 3, 4, flip)
    parts = [augment(images, indices, 1, 2, 3, 4, flip, slice(start, start + 4)) for start in (0, 4, 8)]
    assert torch.equal(torch.cat(parts), whole)
