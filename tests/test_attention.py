"""Attention maps, as trained on and as drawn."""

import numpy as np
import pytest
import torch

from kdexplorer import attention, losses


def random(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_a_map_is_the_mean_over_channels_or_of_their_squares():
    features = torch.tensor([[[[1.0, -2.0]], [[3.0, 4.0]]]])
    assert attention.attention_map(features).tolist() == [[[2.0, 1.0]]]
    assert attention.attention_map(features, power=2).tolist() == [[[5.0, 10.0]]]


def test_half_precision_is_averaged_in_float32_and_float64_stays():
    features = torch.full((1, 3, 1, 1), 60_000.0, dtype=torch.float16)
    assert attention.attention_map(features, power=2).dtype == torch.float32
    assert attention.attention_map(features, power=2).item() == pytest.approx(60_000.0**2)
    assert attention.normalised(attention.attention_map(features.double())).dtype == torch.float64


def test_each_image_is_scaled_to_unit_length_on_its_own():
    maps = torch.tensor([[[3.0, 4.0]], [[0.0, 500.0]], [[0.0, 0.0]]])
    torch.testing.assert_close(attention.normalised(maps), torch.tensor([[0.6, 0.8], [0.0, 1.0], [0.0, 0.0]]))


@pytest.mark.parametrize("turned", [False, True])
def test_the_larger_map_is_averaged_to_the_smaller(turned):
    large, small = random(2, 4, 8), random(2, 2, 4, seed=1)
    by_hand = large.numpy().reshape(2, 2, 2, 4, 2).mean(axis=(2, 4))
    pair = attention.same_size(small, large) if turned else attention.same_size(large, small)
    pooled, kept = pair[::-1] if turned else pair
    np.testing.assert_allclose(pooled.numpy(), by_hand, rtol=1e-6)
    assert torch.equal(kept, small)


def test_similarity_is_the_cosine_and_the_number_that_the_loss_minimises():
    first, second = random(5, 8, 8), random(5, 8, 8, seed=1)
    cosine, difference = attention.similarity(first, second)
    a, b = first.flatten(1).numpy(), second.flatten(1).numpy()
    expected = (a * b).sum(axis=1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)
    np.testing.assert_allclose(cosine.numpy(), expected, rtol=1e-5)
    np.testing.assert_allclose(difference.numpy(), 2 * (1 - expected) / 64, rtol=1e-5)
    assert losses.stage_losses([first], [second])[0].item() == pytest.approx(difference.mean().item(), rel=1e-6)


def test_a_network_is_like_itself_whatever_its_scale():
    maps = random(3, 4, 4)
    cosine, difference = attention.similarity(maps, 7 * maps)
    torch.testing.assert_close(cosine, torch.ones(3))
    assert difference.max() < 1e-12
