"""A lecture's file: the bundled one, and errors that name the file, the step and the field."""

import os

import pytest

from kdexplorer.analysis import metrics
from kdexplorer.errors import ConfigError
from kdexplorer.figures import all_figures
from kdexplorer.runs import lineage
from kdexplorer.story import MAX_STEPS, read_lecture

STEP = 'title = "Temperature"\nsentence = "T softens."\nfigure = "soft_labels"\n'


def write(tmp_path, text):
    path = tmp_path / "mine.toml"
    path.write_text(text)
    return path


def test_the_numbers_on_the_slides_are_those_of_the_bundled_networks(bundled):
    steps, entries = read_lecture().steps, bundled.entries
    right = {name: f"{100 * one.card.test_accuracy:.1f}" for name, one in entries.items()}
    sizes = {name: f"{entries[name].card.parameters / 1e6:.2f} million" for name in ("resnet56", "resnet20-scratch")}
    for name, size in sizes.items():
        assert size in steps[0].sentence
        assert f"{right[name]} %" in steps[0].sentence
    distilled = sorted(right[f"resnet20-{kind}"] for kind in ("response", "feature", "combined"))
    assert f"{distilled[0]} to {distilled[-1]} % of" in steps[-1].points[1]
    assert f"instead of {right['resnet20-scratch']} %" in steps[-1].points[1]


def test_the_numbers_in_the_notes_are_those_of_the_bundled_networks(bundled):
    notes = " ".join(" ".join(step.notes for step in read_lecture().steps).split())
    entries, logits = bundled.entries, bundled.logits
    sure = {name: metrics.softmax(one).max(axis=1) for name, one in logits.items()}
    assert f"more than 99 % on {100 * (sure['resnet56'] > 0.99).mean():.0f} % of" in notes
    fresh = metrics.fresh_push(logits["resnet56"], 4) / metrics.fresh_push(logits["resnet56"], 1)
    students = [one for one in entries.values() if lineage.is_distilled(one)]
    sizes = []
    for student in students:
        teacher = lineage.teacher_of(student, list(entries.values())).name
        small, large = (metrics.push_size(logits[student.name], logits[teacher], t).mean() for t in (1, 4))
        sizes.append(large / small)
    assert f"{fresh:.1f} times as large at T = 4 as at T = 1" in notes
    assert f"{min(sizes):.1f} to {max(sizes):.1f} times for the bundled students" in notes
    for student in ("resnet20-response", "resnet8-response", "resnet18-response"):
        less = (sure[student] < sure[f"{student.split('-')[0]}-scratch"]).mean()
        assert f"{student} is on {100 * less:.0f} %" in notes or f"{student} on {100 * less:.0f} %" in notes


def test_a_lecture_of_ones_own(own, tmp_path, make_checkpoint):
    make_checkpoint(own / "big")
    settings = '[steps.settings]\nT = 8\nimage = 3\nteacher = "big"\nmethod = "at"\nexperiment = "few-labels"\n'
    path = write(tmp_path, f'title = "Mine"\n[[steps]]\n{STEP}{settings}[[steps]]\n{STEP}')
    (tmp_path / "link.toml").symlink_to(path)
    lecture = read_lecture(tmp_path / "link.toml")
    assert lecture.title == "Mine"
    assert [step.settings.model_dump(exclude_none=True) for step in lecture.steps] == [
        {"T": 8, "image": 3, "teacher": "big", "method": "at", "experiment": "few-labels"},
        {},
    ]
    assert lecture.sections() == ["soft"]


@pytest.mark.parametrize(
    ("added", "field", "allowed"),
    [
        ('foo = "bar"', "foo", "not a setting"),
        ("soft", "figure: unknown figure 'soft'", "gradient"),
        ("[steps.settings]\nT = 99", "settings, T", "20"),
        ('[steps.settings]\nmethod = "magic"', "settings, method", "kd"),
        ('[steps.settings]\nexperiment = "magic"', "settings, experiment", "dark-knowledge"),
        ('[steps.settings]\nstudents = ["nobody"]', "settings, students", "resnet56"),
        ('[steps.settings]\nteacher = "../../etc"', "settings, teacher", ""),
    ],
)
def test_what_is_wrong_is_named_with_its_step(tmp_path, added, field, allowed):
    wrong = STEP.replace("soft_labels", added) if added == "soft" else f"{STEP}{added}\n"
    path = write(tmp_path, f"[[steps]]\n{STEP}[[steps]]\n{wrong}")
    with pytest.raises(ConfigError) as caught:
        read_lecture(path)
    message = str(caught.value)
    assert str(path) in message
    assert f"step 2 ('Temperature'), {field}" in message
    assert allowed in message


@pytest.mark.parametrize(
    "text",
    ["", "steps = [1]", "[[steps]]\n" + STEP.replace("figure", "picture"), "\x00", "#" * 300_000,
     f"[[steps]]\n{STEP}" * (MAX_STEPS + 1), f'"steps.foo" = 1\n[[steps]]\n{STEP}', f"a = {'[' * 90_000}"],
)  # fmt: skip
def test_any_other_file_is_refused(tmp_path, text):
    with pytest.raises(ConfigError, match=r"mine\.toml"):
        read_lecture(write(tmp_path, text))


@pytest.mark.parametrize("make", [os.mkfifo, lambda path: path.symlink_to("/dev/zero")])
def test_a_file_that_would_never_end_is_refused(tmp_path, make):
    make(tmp_path / "endless.toml")
    with pytest.raises(ConfigError, match=r"endless\.toml"):
        read_lecture(tmp_path / "endless.toml")


def test_the_command_lists_steps_and_figures_and_refuses_a_bad_file(tmp_path, command):
    printed = command("story").out
    assert all(step.title in printed for step in read_lecture().steps)
    assert "soft_labels" in command("story", str(write(tmp_path, f"[[steps]]\n{STEP}"))).out
    printed = command("story", "--figures").out
    assert all(name in printed for name in all_figures())
    command("story", str(tmp_path / "none.toml"), code=2)
    assert "mine.toml" in command("story", str(write(tmp_path, "nothing")), code=2).err
