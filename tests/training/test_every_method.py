"""Every registered method in one run: trained, stopped within a step, resumed to the same bits, exported."""

import pytest
import safetensors.numpy
import torch

from kdexplorer.datasets import get_dataset
from kdexplorer.methods import all_methods
from kdexplorer.networks import build
from kdexplorer.runs.checkpoints import open_checkpoint
from kdexplorer.training.train import execute
from tests.training.configs import bits, create, make_config, stop_at, train_to_end

KEYS = [method.key for method in all_methods()]


def test_every_method_resumes_to_the_same_bits_and_exports_no_adapter(tiny, make_checkpoint, tmp_path, monkeypatch):
    """Two epochs of two steps; the teacher is wider, and its stages do not end in ReLU."""
    monkeypatch.setitem(get_dataset("synthetic").sizes, "test", 20)
    teacher = make_checkpoint(tmp_path / "wide", "wrn_16_2", seed=9)
    students = [{"name": key, "architecture": "resnet8", "terms": [{"method": key}]} for key in KEYS]
    small = {"train_images": 20, "batch_size": 10, "learning_rate": 0.01, "start_resolution": 16}
    config = make_config(*students, teacher=str(teacher.path), **small)
    whole = train_to_end(config)
    weights, figures = bits(whole)
    assert len(set(weights.values())) == len(KEYS)  # each method leads elsewhere
    for name in KEYS:
        card = open_checkpoint(whole.path / name).card
        term = card.objective.terms[0]
        assert card.test_terms.keys() == {"cross_entropy", name}
        expected = card.test_terms["cross_entropy"] + term.weight * card.test_terms[name]
        assert card.test_objective == pytest.approx(expected, rel=1e-5)
        assert (card.teacher is None) == (not card.objective.needs)
        stored = safetensors.numpy.load_file(whole.path / name / "weights.safetensors")
        assert stored.keys() == {key for key in build("resnet8").state_dict() if not key.endswith("_tracked")}

    run = create(config)
    assert stop_at(run, (0, 1))[-1] == (0, 1)
    state = torch.load(run.path / "state.pt", weights_only=True)["students"]
    with_adapter = {name for name in KEYS if state[name]["adapters"]}
    assert with_adapter == {"fitnets", "reviewkd", "crd"}
    assert execute(run) == "finished"
    assert bits(run) == (weights, figures)
    ends = [torch.load(one.path / "state.pt", weights_only=True)["students"] for one in (whole, run)]
    for name in with_adapter:
        torch.testing.assert_close(ends[1][name]["adapters"], ends[0][name]["adapters"], rtol=0, atol=0)
        begin = state[name]["adapters"][name]
        assert not [key for key, end in ends[0][name]["adapters"][name].items() if torch.equal(begin[key], end)]
