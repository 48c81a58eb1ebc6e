"""Students' attention against a teacher's over many images: kept, compared with the twin, printed."""

import json

import numpy as np
import pytest

from kdexplorer import attention_study, cli, data

GENERATOR = np.random.default_rng(0)


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setattr(attention_study, "cache_folder", lambda: tmp_path / "cache")


@pytest.fixture
def networks(tmp_path, make_checkpoint):
    """A teacher, a student from scratch, and one of the same run whose weights are the teacher's own."""
    teacher = make_checkpoint(tmp_path / "teacher", seed=0)
    told = {"name": "teacher", "sha256": teacher.sha256}
    beta = {"ce_weight": 1.0, "attention_weight": 500.0}
    return [
        teacher,
        make_checkpoint(tmp_path / "alone", seed=1, run="r"),
        make_checkpoint(tmp_path / "copy", seed=0, run="r", method="feature", teacher=told, objective=beta),
    ]


def test_it_is_kept_and_read_again(tmp_path, make_checkpoint):
    teacher, student = make_checkpoint(tmp_path / "t", seed=0), make_checkpoint(tmp_path / "s", seed=1)
    images = GENERATOR.integers(0, 256, (60, 3, 32, 32), np.uint8)
    seen = []
    assert attention_study.stored(teacher, [student], images)[student.path] is None
    attention_study.measure(teacher, [student], images, lambda c: c.network(), seen.append)
    measured = attention_study.stored(teacher, [student], images)[student.path]
    assert measured[1][0].shape == (60, 3)
    assert seen[-1] == 1.0
    summary = attention_study.summarise(measured, 1)
    assert sum(row["share"] for row in summary) == pytest.approx(1)
    assert all(row["low"] <= row["cosine"] <= row["high"] <= 1.0001 for row in summary)
    assert attention_study.stored(teacher, [student], images[:59])[student.path] is None
    next((tmp_path / "cache").iterdir()).write_bytes(b"damaged")
    assert attention_study.stored(teacher, [student], images)[student.path] is None


def test_it_leaves_out_other_stages(tmp_path, make_checkpoint):
    teacher, student = make_checkpoint(tmp_path / "t"), make_checkpoint(tmp_path / "s", "mobilenet_v2")
    images = GENERATOR.integers(0, 256, (4, 3, 32, 32), np.uint8)
    attention_study.measure(teacher, [student], images, lambda c: c.network())
    assert attention_study.stored(teacher, [student], images)[student.path] is None


def test_each_stage_is_compared_with_the_scratch_twin_image_by_image(networks, tiny):
    teacher, alone, copy = networks
    images = data.load_split("synthetic", "test").images[:40]
    attention_study.measure(teacher, [alone, copy], images, lambda c: c.network())
    rows = attention_study.rows(teacher, [alone, copy], images)
    assert [(row["name"], row["stage"]) for row in rows] == [
        (c.name, stage) for c in (alone, copy) for stage in (1, 2, 3)
    ]
    cosines = attention_study.stored(teacher, [alone], images)[alone.path][1][0]
    for first, row in zip(rows[:3], rows[3:], strict=True):
        assert "to_twin" not in first
        assert first["loss"] == pytest.approx(1000 * first["mse"])  # the preset's beta
        assert row["cosine"] == pytest.approx(1, abs=1e-5)
        gain = 1 - cosines[:, row["stage"] - 1]
        assert row["to_twin"]["difference"] == pytest.approx(gain.mean(), abs=1e-5)
        assert row["to_twin"]["half"] == pytest.approx(1.96 * gain.std() / 40**0.5, abs=1e-5)
    assert rows[3]["loss"] == pytest.approx(500 * rows[3]["mse"])


def test_the_command_prints_the_table_and_refuses_other_stages(networks, tmp_path, make_checkpoint, tiny, capsys):
    paths = [str(checkpoint.path) for checkpoint in networks]
    assert cli.main(["attention", *paths, "--images", "30", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert cli.main(["attention", *paths, "--images", "30"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2 + len(rows) == 8
    assert f"| copy | 3 | 1.000 (1.000 – 1.000) | {rows[5]['to_twin']['difference']:+.3f} ±" in lines[-1]
    other = make_checkpoint(tmp_path / "other", "mobilenet_v2")
    assert cli.main(["attention", paths[0], str(other.path), "--images", "10"]) == 1
    assert "other: not as many stages as teacher has" in capsys.readouterr().err
    assert cli.main(["attention", *paths, "--images", "-5"]) == 2
    assert "at least one image" in capsys.readouterr().err


def test_who_is_interrupted_goes_on_and_the_same_weights_are_compared_once(
    networks, tmp_path, make_checkpoint, monkeypatch
):
    teacher, alone, _ = networks
    again = make_checkpoint(tmp_path / "again", seed=1)  # the weights of `alone`
    images = GENERATOR.integers(0, 256, (50, 3, 32, 32), np.uint8)
    monkeypatch.setattr(attention_study, "PART", 20)
    monkeypatch.setattr(attention_study, "BATCH", 20)

    def interrupted(done):
        if done > 0.5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        attention_study.measure(teacher, [alone], images, lambda c: c.network(), interrupted)
    assert attention_study.stored(teacher, [alone], images[:20])[alone.path] is not None
    asked = []
    attention_study.measure(teacher, [alone, again], images, lambda c: asked.append(c) or c.network())
    assert len(asked) == 2 * 2  # teacher and student, for the two parts that were left
    found = attention_study.stored(teacher, [alone, again], images)
    assert found[alone.path][1][0].shape == (50, 3)
    assert np.array_equal(found[alone.path][1][0], found[again.path][1][0])
