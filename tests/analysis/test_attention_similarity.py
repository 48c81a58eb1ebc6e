"""Students' attention maps against a teacher's, on one image and over many."""

import numpy as np
import pytest
import torch

from kdexplorer.analysis import attention_similarity
from kdexplorer.analysis.measures import to_markdown
from kdexplorer.datasets import get_dataset
from kdexplorer.methods.at import AT, at_loss
from kdexplorer.runs.checkpoints import Checkpoint

GENERATOR = np.random.default_rng(0)


@pytest.fixture
def networks(tmp_path, make_checkpoint):
    """A teacher, a scratch baseline, and a student of the same run whose weights are the teacher's own."""
    teacher = make_checkpoint(tmp_path / "teacher", seed=0)
    objective = {"terms": [{"method": "at", "weight": 500}]}
    reference = {"name": "teacher", "sha256": teacher.sha256}
    return [
        teacher,
        make_checkpoint(tmp_path / "baseline", seed=1, run="r"),
        make_checkpoint(tmp_path / "copy", seed=0, run="r", teacher=reference, objective=objective),
    ]


def test_uniform_attention_is_one_everywhere_and_similar_to_every_map_by_cosine_and_to_none_by_correlation():
    np.testing.assert_allclose(attention_similarity.relative_map(np.full((8, 8), 7.0)), 1)
    difference = attention_similarity.map_difference(np.full((8, 8), 7.0), np.full((16, 16), 2.0))
    np.testing.assert_allclose(difference, np.zeros((8, 8)), atol=1e-7)
    maps = 1 + 0.1 * GENERATOR.random((4, 8, 8)).astype(np.float32)
    cosine, _, correlation, *_ = attention_similarity.compare_maps([np.full_like(maps, 2.0)], [maps])
    assert (cosine > 0.99).all()
    np.testing.assert_array_equal(correlation, 0)


def test_maps_of_each_stage_are_compared():
    maps = [GENERATOR.random((5, side, side)).astype(np.float32) for side in (8, 4)]
    others = [maps[0], GENERATOR.random((5, 4, 4)).astype(np.float32)]
    compared = attention_similarity.compare_maps(maps, others)
    assert compared.shape == (5, 5, 2)
    cosine, mse, correlation, chance, _ = compared
    np.testing.assert_allclose(cosine[:, 0], 1, rtol=1e-5)
    np.testing.assert_allclose(mse[:, 1], 2 * (1 - cosine[:, 1]) / 16, rtol=1e-3)
    loss = at_loss(*([torch.from_numpy(stages[1])] for stages in (maps, others)))  # what the loss minimizes
    assert mse[:, 1].mean() == pytest.approx(loss.item(), rel=1e-6)
    for image, following in enumerate([1, 2, 3, 4, 0]):
        own, same, other = maps[1][image].ravel(), others[1][image].ravel(), others[1][following].ravel()
        assert cosine[image, 1] == pytest.approx(own @ same / np.linalg.norm(own) / np.linalg.norm(same), rel=1e-5)
        assert correlation[image, 1] == pytest.approx(np.corrcoef(own, same)[0, 1], abs=1e-5)
        assert chance[image, 1] == pytest.approx(np.corrcoef(own, other)[0, 1], abs=1e-5)


def test_what_all_images_have_in_common_is_left_out_of_what_is_each_images_own():
    common = 1 + 5 * GENERATOR.random((1, 8, 8))
    first, second = (np.float32(common + 0.1 * GENERATOR.random((200, 8, 8))) for _ in range(2))
    assert attention_similarity.compare_maps([first], [second])[2].mean() > 0.99
    assert abs(attention_similarity.compare_maps([first], [second])[4].mean()) < 0.05
    np.testing.assert_allclose(attention_similarity.compare_maps([first], [2 * first])[4], 1, rtol=1e-5)


def test_each_stage_is_compared_with_the_scratch_baseline_image_by_image(networks, tiny):
    teacher, baseline, copy = networks
    images = get_dataset("synthetic").load("test").images[:40]
    attention_similarity.measure(teacher, [baseline, copy], images)
    rows = attention_similarity.build_rows(teacher, [baseline, copy], images)
    assert [(row.name, row.stage) for row in rows] == [(c.name, stage) for c in (baseline, copy) for stage in (1, 2, 3)]
    correlations = attention_similarity.load_stored(teacher, [baseline], images)[baseline.path][0, 2]
    for first, row in zip(rows[:3], rows[3:], strict=True):
        assert first.to_scratch_baseline is None
        assert first.loss == pytest.approx(AT.Settings().weight * first.mse)
        assert row.cosine == pytest.approx(1, abs=1e-5)
        assert row.chance < row.correlation == pytest.approx(1, abs=1e-5)
        gain = 1 - correlations[:, row.stage - 1]
        assert row.to_scratch_baseline.estimate == pytest.approx(gain.mean(), abs=1e-5)
        assert row.to_scratch_baseline.half == pytest.approx(1.96 * gain.std() / 40**0.5, abs=1e-5)
    assert rows[3].loss == pytest.approx(500 * rows[3].mse)
    lines = to_markdown(attention_similarity.tabulate(rows)).splitlines()
    assert len(lines) == 2 + 6
    compared = f"{rows[5].chance:.3f} | 1.000 | {rows[5].to_scratch_baseline.nats}"
    assert f"| copy | 3 | 1.000 (1.000 – 1.000) | {compared} | 1.000 |" in lines[-1]
    assert "±" not in lines[2]
    attention_similarity.measure(teacher, [baseline], images[:1])
    alone = attention_similarity.build_rows(teacher, [baseline], images[:1])  # a mean over one image leaves nothing
    assert np.isnan([(row.chance, row.own) for row in alone]).all()
    assert "nan" not in to_markdown(attention_similarity.tabulate(alone))


def test_an_interrupted_measurement_continues(networks, tmp_path, make_checkpoint, monkeypatch):
    teacher, baseline, _ = networks
    again = make_checkpoint(tmp_path / "again", seed=1)  # the baseline's weights
    images = GENERATOR.integers(0, 256, (50, 3, 32, 32), np.uint8)
    monkeypatch.setattr(attention_similarity, "PART", 20)
    monkeypatch.setattr(attention_similarity, "BATCH", 20)

    def interrupt(share):
        if share > 0.5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        attention_similarity.measure(teacher, [baseline], images, interrupt)
    assert attention_similarity.load_stored(teacher, [baseline], images[:20])[baseline.path] is not None
    loaded, load = [], Checkpoint.network
    monkeypatch.setattr(Checkpoint, "network", lambda c: loaded.append(c) or load(c))
    attention_similarity.measure(teacher, [baseline, again], images)
    assert len(loaded) == 2 * 2  # teacher and student, for the two parts that were missing
    stored = attention_similarity.load_stored(teacher, [baseline, again], images)
    assert stored[baseline.path][0, 0].shape == (50, 3)
    assert np.array_equal(stored[baseline.path][0, 0], stored[again.path][0, 0])
