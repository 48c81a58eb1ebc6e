"""Batches: their order, augmentation, size and normalization.

Everything derives from (seed, epoch, step) alone, so a run can start again in the middle of an epoch without replaying
what came before.
"""

from __future__ import annotations

import numpy as np

from kdexplorer.datasets.base import Normalization
from kdexplorer.networks.outputs import F, torch

STUDENT, TEACHER = 0xA6, 0x7E
"""For whom crops are drawn: a teacher may have crops of its own."""


def epoch_order(count: int, seed: int, epoch: int) -> np.ndarray:
    """The order in which an epoch visits the images: a permutation of `range(count)`."""
    return np.random.default_rng([seed, epoch, 0x0D]).permutation(count)


def augment(
    images: torch.Tensor,
    indices: np.ndarray,
    seed: int,
    epoch: int,
    step: int,
    padding: int,
    flip: str,
    part: slice = slice(None),
    stream: int = STUDENT,
) -> torch.Tensor:
    """A batch after random crop with reflection, and mirroring.

    Args:
        images: `[N, 3, H, W]` uint8, all training images.
        indices: `[B]`, the batch.
        padding: pixels by which the image is reflected on each side before the crop.
        flip: `alternating` (each image either way in turn, the first by lot: Jordan, "94 % on CIFAR-10 in 3.29
            seconds", 2024, section 3.6), `random` or `none`.
        part: which images of the batch are returned; what is drawn for them does not depend on it.
        stream: for whom crops are drawn, `STUDENT` or `TEACHER`; mirroring by turns is the same for both.

    Returns:
        `[B, 3, H, W]` uint8.
    """
    generator = np.random.default_rng([seed, epoch, step, stream])
    batch = len(indices)

    def crop(size: int) -> np.ndarray:
        positions = np.abs(np.arange(size) + generator.integers(-padding, padding + 1, (batch, 1)))
        return np.minimum(positions, 2 * (size - 1) - positions)

    rows, columns = crop(images.shape[2]), crop(images.shape[3])
    if flip == "alternating":
        first = np.random.default_rng([seed, 0xF1]).integers(0, 2, len(images))
        mirrored = (first[indices] + epoch) % 2 == 1
    else:
        mirrored = generator.integers(0, 2, batch) == 1 if flip == "random" else np.zeros(batch, dtype=bool)
    columns[mirrored] = columns[mirrored, ::-1]
    where = [to_device(array[part], images.device) for array in (indices, rows, columns)]
    channels = torch.arange(3, device=images.device)[None, :, None, None]
    return images[where[0][:, None, None, None], channels, where[1][:, None, :, None], where[2][:, None, None, :]]


def cut_out(
    images: torch.Tensor, side: int, normalization: Normalization, batch: int, part: slice, *drawn: int
) -> torch.Tensor:
    """Images with a square of `side` pixels at a random place, inside the image, in the mean color.

    DeVries and Taylor, "Improved regularization of convolutional neural networks with cutout", 2017, whose squares may
    lie across the border; inside as in Jordan 2024 (see `augment`).

    Args:
        images: uint8 `[B, 3, H, W]`.
        normalization: whose mean it is.
        batch, part: how many images the batch has, and which these are; the others' places do not depend on it.
        drawn: seed, epoch, step and stream, which decide the places.
    """
    generator, inside = np.random.default_rng([*drawn, 0xC0]), []
    for size in images.shape[2:]:
        distance = np.arange(size) - generator.integers(0, size - side + 1, (batch, 1))[part]
        inside.append(to_device((distance >= 0) & (distance < side), images.device))
    color = to_device(np.rint(255 * np.asarray(normalization.mean)).astype(np.uint8), images.device)
    return torch.where((inside[0][:, :, None] & inside[1][:, None, :])[:, None], color.view(3, 1, 1), images)


def mix(images: torch.Tensor, seed: int, epoch: int, step: int) -> torch.Tensor:
    """Each image of a batch mixed with the one before it, in a share that is drawn uniformly from 0.5 to 1.

    Zhang et al., "mixup", ICLR 2018, with the uniform shares of Beyer et al., "Knowledge distillation: A good teacher
    is patient and consistent", CVPR 2022; here the larger share is the image's own. uint8 `[B, 3, H, W]` in and out.
    """
    shares = np.random.default_rng([seed, epoch, step, 0x31]).uniform(0.5, 1, (len(images), 1, 1, 1))
    share = to_device(shares.astype(np.float32), images.device)
    return (share * images.float() + (1 - share) * images.roll(1, dims=0).float()).round().to(torch.uint8)


def resize(images: torch.Tensor, side: int) -> torch.Tensor:
    """Float images `[B, 3, H, W]` in channels_last to `[B, 3, side, side]`: bilinear, antialiased.

    It is linear and its weights add up to 1, so it may come after `normalize`. At their own size they stay as they are.
    """
    if images.shape[-1] == side:
        return images
    return F.interpolate(images, size=(side, side), mode="bilinear", antialias=True)


def to_device(array: np.ndarray, device: torch.device) -> torch.Tensor:
    """An array as a tensor on a device; a copy to a GPU does not block."""
    tensor = torch.from_numpy(np.ascontiguousarray(array))
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor.to(device)


def normalize(images: torch.Tensor, normalization: Normalization) -> torch.Tensor:
    """uint8 `[B, 3, H, W]` to float32 in channels_last: scaled to 0..1, then `(x - mean) / std`."""
    both = (to_device(np.asarray(one, np.float32), images.device) for one in (normalization.mean, normalization.std))
    mean, std = (values.view(1, 3, 1, 1) * 255 for values in both)
    return images.contiguous(memory_format=torch.channels_last).float().sub_(mean).div_(std)
