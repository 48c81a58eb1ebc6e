"""Who learnt from whom: by the hash of the teacher's weights, and by the run for twins."""

import pytest

from kdexplorer import relatives


@pytest.fixture
def two_families(tmp_path, make_checkpoint):
    """Two teachers; a run of each with students of one architecture, and a scratch student with smoothed labels."""

    def make(name, seed, **facts):
        return make_checkpoint(tmp_path / name, seed=seed, **facts)

    found = {"large": make("large", 0, run="t"), "small": make("small", 1, run="u")}
    seed = 2
    for guide in ("large", "small"):
        told = {"name": guide, "sha256": found[guide].sha256}
        weights = {"label_smoothing": 0.1}
        for name, facts in (
            ("smooth", {"objective": weights}),
            ("scratch", {}),
            ("response", {"method": "response", "teacher": told}),
        ):
            found[f"{guide}-{name}"] = make(f"{guide}-{name}", seed, run=f"r-{guide}", **facts)
            seed += 1
    return found


def test_everyone_has_its_own_teacher_and_twin(two_families):
    assert relatives.teachers(two_families) == ["large", "small"]
    assert relatives.guides(two_families) == {"large-response": "large", "small-response": "small"}
    assert relatives.twins(two_families) == {"large-response": "large-scratch", "small-response": "small-scratch"}


def test_a_family_is_of_one_run_and_pupils_are_all_beside_who_heard(two_families):
    small = two_families["small"]
    assert relatives.pupils(two_families, small) == ["small-smooth", "small-scratch", "small-response"]
    assert relatives.family(two_families, small) == {"scratch": "small-scratch", "response": "small-response"}
    assert relatives.family(two_families, two_families["small-scratch"]) == {}


def test_what_no_run_made_has_no_twin(tmp_path, make_checkpoint):
    alone = make_checkpoint(tmp_path / "alone", seed=1)
    told = make_checkpoint(tmp_path / "told", seed=2, method="response")
    assert relatives.twin_of(told, [alone, told]) is None


def test_twins_that_are_trained_on_stay_twins_and_others_do_not_become_any(tmp_path, make_checkpoint):
    def went_on(name, seed, initial, **facts):
        facts |= {"run": "second", "objective": {"initial": initial}}
        return make_checkpoint(tmp_path / name, seed=seed, name=name, **facts)

    twin = went_on("scratch", 1, "first/scratch")
    told = went_on("response", 2, "first/response", method="response")
    stranger = went_on("feature", 3, "other/feature", method="feature")
    changed = went_on("combined", 4, "first/scratch", method="combined")
    every = [twin, told, stranger, changed]
    assert [relatives.twin_of(one, every) for one in every] == [None, twin, None, None]
