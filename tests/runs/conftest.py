"""A checkpoint that tests may damage."""

import numpy as np
import pytest


@pytest.fixture
def saved(tmp_path, make_checkpoint):
    """A ResNet-8 with random weights and logits of 120 images."""
    return make_checkpoint(tmp_path / "net", logits=np.random.default_rng(0).normal(size=(120, 10)))
