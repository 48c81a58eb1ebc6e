"""What the tests of training share: a random teacher, a paired run and what it comes to undisturbed."""

import pytest

from kdexplorer.datasets import get_dataset
from tests.training.configs import COMBINED, SCRATCH, bits, make_config, train_to_end


@pytest.fixture(scope="session")
def teacher(make_checkpoint, tmp_path_factory):
    return make_checkpoint(tmp_path_factory.mktemp("teachers") / "teacher", seed=9)


@pytest.fixture
def paired(tiny, teacher):
    """A scratch baseline and a distilled student: two epochs of six steps."""
    return make_config(SCRATCH, COMBINED, teacher=str(teacher.path))


@pytest.fixture(scope="session")
def undisturbed(teacher, tmp_path_factory):
    """The bits of `paired` when nothing interrupts it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KDEXPLORER_RUNS", str(tmp_path_factory.mktemp("undisturbed")))
        patch.setitem(get_dataset("synthetic").sizes, "train", 120)
        patch.setitem(get_dataset("synthetic").sizes, "test", 60)
        return bits(train_to_end(make_config(SCRATCH, COMBINED, teacher=str(teacher.path))))
