"""Several teachers as one: averaged probabilities, each network with its own normalization."""

import numpy as np
import pytest

from kdexplorer.analysis.inference import predict_batches
from kdexplorer.analysis.metrics import softmax
from kdexplorer.datasets.augmentation import epoch_order
from kdexplorer.errors import ConfigError
from kdexplorer.runs.checkpoints import find_teachers, open_checkpoint, refer_to
from kdexplorer.studies.collect import load_teacher_logits
from kdexplorer.training.trainer import Trainer
from tests.training.configs import RESPONSE, SCRATCH, make_config, train_to_end

OTHER_NORMALIZATION = {"mean": (0.3, 0.4, 0.5), "std": (0.2, 0.3, 0.4)}


@pytest.fixture
def several(make_checkpoint, teacher, tmp_path):
    """Two teachers that differ in architecture, normalization, and one in a name with a plus."""
    return [teacher, make_checkpoint(tmp_path / "other+kd", "resnet20", seed=3, normalization=OTHER_NORMALIZATION)]


def joined(checkpoints):
    return "+".join(str(one.path) for one in checkpoints)


def test_names_are_found_whole_where_they_contain_a_plus(several):
    assert find_teachers(joined(several)) == tuple(several)
    assert find_teachers(joined(several[::-1])) == tuple(several[::-1])
    with pytest.raises(ConfigError, match="no checkpoint 'nobody'"):
        find_teachers(f"{several[0].path}+nobody")
    with pytest.raises(ConfigError, match="twice"):
        find_teachers(joined([several[0], several[0]]))
    assert find_teachers(None) == find_teachers("") == ()
    for name in ("+", f"{several[0].path}+"):
        with pytest.raises(ConfigError):
            find_teachers(name)


def test_probabilities_are_averaged_each_network_in_its_own_normalization(tiny, several):
    def mean(images):
        return np.mean([softmax(predict_batches(o.network(), images, o.card.normalization)) for o in several], axis=0)

    trainer = Trainer(make_config(RESPONSE, teacher=joined(several), crop_padding=0, flip="none"))
    expected = mean(trainer.evaluation.images)
    np.testing.assert_allclose(softmax(trainer.evaluate_teacher().logits), expected, atol=1e-4)
    _, _, targets = trainer._load_batch(0, 0)
    images = trainer.images[epoch_order(30, 0, 0)[:5]].numpy()
    (outputs,) = targets.values()
    np.testing.assert_allclose(softmax(outputs.logits.numpy()), mean(images), atol=1e-4)


def test_the_card_names_all_teachers_and_each_is_one_in_the_lineage(tiny, several):
    run = train_to_end(make_config(SCRATCH, RESPONSE, teacher=joined(several), epochs=1))
    student = open_checkpoint(run.path / "response")
    assert student.card.teacher == refer_to(several)
    assert student.card.teacher.name == "teacher+other+kd"
    assert {one.sha256 for one in several} == student.card.teacher_hashes
    assert open_checkpoint(run.path / "scratch").card.teacher is None
    assert run.teacher(10).name == "teacher+other+kd"


def test_stored_logits_of_several_are_averaged(make_checkpoint, tmp_path):
    logits = np.random.default_rng(0).normal(0, 3, (2, 60, 10)).astype(np.float16)
    made = [make_checkpoint(tmp_path / f"t{i}", seed=i, logits=one) for i, one in enumerate(logits)]
    found = load_teacher_logits(make_config(RESPONSE, teacher=joined(made)))
    np.testing.assert_allclose(softmax(found), np.mean([softmax(one) for one in logits], axis=0), atol=1e-9)
