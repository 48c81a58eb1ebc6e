"""What the tests of training share: a paired run, what it comes to undisturbed, half of it."""

import shutil

import pytest

from kdexplorer.datasets import get_dataset
from kdexplorer.runs.run_folder import Run
from tests.training.configs import COMBINED, SCRATCH, make_config, stop_halfway


@pytest.fixture
def paired(tiny, teacher):
    """A scratch baseline and a distilled student: two epochs of six steps."""
    return make_config(SCRATCH, COMBINED, teacher=str(teacher.path))


@pytest.fixture(scope="session")
def both(teacher, tmp_path_factory):
    """The bits of `paired` when nothing interrupts it; the folder of one that is stopped in its second epoch."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KDEXPLORER_RUNS", str(tmp_path_factory.mktemp("undisturbed")))
        patch.setitem(get_dataset("synthetic").sizes, "train", 120)
        patch.setitem(get_dataset("synthetic").sizes, "test", 60)
        run, expected = stop_halfway(make_config(SCRATCH, COMBINED, teacher=str(teacher.path)), (1, 2))
        return expected, run.path


@pytest.fixture
def undisturbed(both):
    return both[0]


@pytest.fixture
def halfway(both, paired, runs_root):
    """A run of `paired` that was stopped after the third step of its second epoch."""
    return Run(shutil.copytree(both[1], runs_root / both[1].name))
