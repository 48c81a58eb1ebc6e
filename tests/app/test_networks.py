"""What pages ask for at every run is read once, until it changes."""

import json
import shutil

import pytest
import streamlit as st

from kdexplorer.app.server import access
from kdexplorer.app.state.cached import all_networks, unusable_networks
from kdexplorer.config import RunConfig
from kdexplorer.runs import checkpoints
from kdexplorer.runs.launch import create_run
from tests.runs.forgery import edit_card


@pytest.fixture
def networks(own, make_checkpoint):
    """Two runs of one student each, and one bundled network."""
    st.cache_resource.clear()
    make_checkpoint(own / "teacher")
    config = RunConfig(dataset="synthetic", students=[{"name": "a", "architecture": "resnet8"}])
    runs = [create_run(config, name) for name in ("one", "two")]
    for run in runs:
        make_checkpoint(run.path / "a", run=run.run_id)
    return runs


def test_networks_are_read_once_and_again_when_they_change(networks, make_checkpoint, monkeypatch):
    read, opened = checkpoints.read_card, []
    monkeypatch.setattr(checkpoints, "read_card", lambda path: opened.append(path) or read(path))
    names = {"teacher", *(f"{run.run_id}/a" for run in networks)}
    for _ in range(3):
        assert set(all_networks()) == names
    assert len(opened) == 3
    loaded, load = [], RunConfig.load.__func__
    monkeypatch.setattr(RunConfig, "load", classmethod(lambda cls, path: loaded.append(path) or load(cls, path)))
    assert set(all_networks()) == names
    assert loaded == []
    make_checkpoint(networks[0].path / "a", seed=1, run="again")
    assert all_networks()[f"{networks[0].run_id}/a"].card.run == "again"
    assert len(opened) == 5  # when it was saved it was read in its temporary folder too
    shutil.rmtree(networks[1].path)
    assert set(all_networks()) == names - {f"{networks[1].run_id}/a"}


def test_a_bad_card_is_unusable_with_the_reason_and_the_others_are_there(networks, tmp_path, monkeypatch):
    first, second = (f"{run.run_id}/a" for run in networks)
    edit_card(all_networks()[first], parameters="many")
    (tmp_path / "bundled" / "linked").mkdir()
    (tmp_path / "bundled" / "linked" / "card.json").symlink_to(tmp_path / "bundled" / "teacher" / "card.json")
    assert set(all_networks()) == {"teacher", second}
    unusable = unusable_networks()
    assert set(unusable) == {first, "linked"}
    assert "parameters: " in unusable[first]
    monkeypatch.setattr(access, "is_presenter", lambda: False)
    shown = access.hide_folders(json.dumps(unusable))
    assert not [place for place in (tmp_path, networks[0].path.parent) if str(place) in shown]
