"""The handout: what is in the file, that nothing can escape from its place in it, and which requests are refused."""

import base64
import hashlib
import json
import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from kdexplorer.analysis.attention_similarity import compare_maps
from kdexplorer.analysis.difference import Difference
from kdexplorer.analysis.human_agreement import cross_entropy_to_humans
from kdexplorer.analysis.inference import predict_picture
from kdexplorer.analysis.metrics import class_similarity
from kdexplorer.analysis.verdicts import describe_changes
from kdexplorer.datasets import get_dataset
from kdexplorer.errors import ConfigError, DataError
from kdexplorer.handout import page, vega
from kdexplorer.handout.charts import TEMPERATURES
from kdexplorer.handout.request import HandoutRequest, choose_pictures
from kdexplorer.images.picture import Picture
from kdexplorer.methods import all_methods
from kdexplorer.notation import parse_student
from kdexplorer.presets import PRESETS
from kdexplorer.studies.experiments import list_verdicts
from kdexplorer.vote.questions import make_question
from tests.charts.drawing import make_row
from tests.pages.runs import distilled

EVIL = '"><img src=x onerror=alert(1)></script><script>alert(2)</script>.png'


@pytest.fixture
def networks(tmp_path, make_checkpoint, tiny):
    """A teacher and two students on the synthetic set, with logits of its whole test split."""
    logits = np.random.default_rng(0).normal(0, 3, (3, 60, 10))
    split = get_dataset("synthetic").load("test")
    logits[:, np.arange(60), split.labels] += np.array([4.0, 2.0, 3.0])[:, None]
    teacher = make_checkpoint(tmp_path / "teacher", logits=logits[0])
    return {
        "teacher": teacher,
        "baseline": make_checkpoint(tmp_path / "baseline", seed=1, logits=logits[1], run="r"),
        "distilled": make_checkpoint(tmp_path / "distilled", seed=2, logits=logits[2], run="r", **distilled(teacher)),
    }


@pytest.fixture
def library(monkeypatch):
    """Building the real library takes seconds; what is tested here does not run it."""
    monkeypatch.setattr(page, "bundle_library", lambda: "window.vegaEmbed = null;")


class Parsed(HTMLParser):
    """Tags with their attributes, and the text inside scripts and styles."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.raw, self.words = [], [], ""
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))

    def handle_data(self, text):
        if self.cdata_elem:
            self.raw.append((*self.tags[-1], text))
        else:
            self.words += text

    def data(self, name="data"):
        return next(json.loads(text) for tag, attributes, text in self.raw if attributes.get("id") == name)

    def sections(self):
        return [attributes["id"] for tag, attributes in self.tags if tag == "section"]

    def links(self):
        return [attributes["href"] for tag, attributes in self.tags if tag == "a"]

    def captions(self):
        return [attributes["alt"] for tag, attributes in self.tags if tag == "img" and attributes.get("width") == "48"]


def choose(networks, count, first=()):
    teacher, *students = networks.values()
    return choose_pictures(count, teacher, students, first)


def build(networks, pictures=None, **options):
    return page.build(HandoutRequest(networks, pictures or choose(networks, 2), **options))


def read(networks, pictures=None, **options):
    return Parsed(build(networks, pictures, **options))


def pictures_of(networks, *indices):
    """Test images of the synthetic data, on which the networks were evaluated."""
    return get_dataset("synthetic").pictures(indices, next(iter(networks.values())).classes)


def test_everything_is_in_the_file_and_nothing_else_may_be_loaded(networks, library):
    parsed = read(networks)
    content = next(a["content"] for _, a in parsed.tags if a.get("http-equiv") == "Content-Security-Policy")
    policy = {name: value for name, _, value in (part.strip().partition(" ") for part in content.split(";"))}
    assert policy["default-src"] == policy["base-uri"] == policy["form-action"] == "'none'"
    assert policy["img-src"] == "data:"
    for kind, directive in (("script", "script-src"), ("style", "style-src")):
        texts = [text for tag, attributes, text in parsed.raw if tag == kind and "type" not in attributes]
        hashes = [base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in texts]
        assert texts
        assert policy[directive] == " ".join(f"'sha256-{digest}'" for digest in hashes)
    for tag, attributes in parsed.tags:
        assert tag not in ("link", "iframe", "object", "base"), tag
        assert not [name for name in attributes if name == "style" or name.startswith("on")]
        assert attributes.get("src", "data:").startswith("data:")
        assert attributes.get("href", "#").startswith("#")
    assert sorted(parsed.links()) == sorted(f"#{section}" for section in parsed.sections())


def test_pictures_votes_and_verdicts_are_included_with_a_link_or_a_command(networks, library, monkeypatch):
    question, verdicts = make_question(Picture(np.zeros((3, 32, 32), np.uint8), 3, 1), ("cat", "dog")), list_verdicts()
    votes = (question.model_copy(update={"counts": (1, 3)}),)
    options = {"temperature": 2.0, "alpha": 0.25, "votes": votes, "experiments": True}
    parsed = read(networks, pictures_of(networks, 5, 7), **options)
    assert parsed.data()["signals"] == {"T": 2.0, "alpha": 0.25, "opacity": 0.9, "beta": 0.0}
    charts = parsed.data("charts-1")
    assert "Test image 7" in parsed.captions()[1]
    assert charts.keys() == {"soft_labels", "attention", "gradient 0", "gradient 1", "gradient 2"}
    assert {charts[f"gradient {number}"]["values"]["alpha"] for number in range(3)} == {0.25}
    assert {row["ds"] for row in max(charts["gradient 0"]["rows"].values(), key=len)} == {0}
    assert "4 votes" in parsed.words
    (rows,) = parsed.data()["shared"]["votes 1"]["rows"].values()
    assert [row["fixed"] for row in rows] == [0.25, 0.75]
    assert len(verdicts) >= 2  # those that train nothing are measured
    for experiment, claim in verdicts:
        shown = f"{claim.claim}: {claim.verdict}.", f"experiment {experiment.key} --show"
        assert all(words in parsed.words for words in (experiment.question, experiment.expected, *shown))
    monkeypatch.setattr(vega, "_run", None)  # no chart that was compiled before is compiled again
    linked = read(networks, experiments=True, address="https://kd.example.org/base")
    expected = [f"https://kd.example.org/base/experiments?experiment={one.key}" for one, _ in verdicts]
    assert [link for link in linked.links() if not link.startswith("#")] == expected
    assert "--show" not in linked.words


def test_a_file_name_full_of_markup_stays_text(networks, library):
    photo = Picture(np.zeros((3, 32, 32), np.uint8), name=EVIL)
    text = build(networks, [photo], command=f"python -m kdexplorer handout --photos {EVIL}")
    parsed = Parsed(text)
    assert "alert(2)</script>" not in text
    assert [t for t, attributes in parsed.tags if t == "script" and not attributes] == ["script"] * 3
    assert not [a for _, a in parsed.tags if "onerror" in a]
    assert EVIL in parsed.words
    assert parsed.captions()[0].startswith(EVIL)


def test_alpha_and_beta_are_the_students_own_where_no_alpha_is_requested(networks, library, tmp_path, make_checkpoint):
    objective = {"ce_weight": 0.2, "terms": [{"method": "kd", "weight": 0.8}, {"method": "at", "weight": 50}]}
    logits = networks["distilled"].logits()
    networks["own"] = make_checkpoint(tmp_path / "own", seed=3, logits=logits, objective=objective)
    own = read(networks).data("charts-0")
    assert [own[f"gradient {number}"]["values"]["alpha"] for number in (1, 2, 3)] == pytest.approx([0.7, 0.7, 0.8])
    cells = max(own["attention"]["rows"].values(), key=len)
    pixels, both = choose(networks, 1)[0].pixels, {name: networks[name] for name in ("own", "teacher")}
    maps = {name: predict_picture(c.network(), pixels, c.card.normalization).maps[1] for name, c in both.items()}
    _, mse, *_ = compare_maps([m[None] for m in maps["own"]], [m[None] for m in maps["teacher"]])[:, 0]
    words = [cell["third"].split(" (")[0] for cell in cells if cell["network"] == "own"]
    assert words == [f"β·MSE {50 * value:.3f}" for value in mse]


def test_both_what_distillation_fixed_and_what_it_broke_are_shown_with_counts(networks, library):
    labels = get_dataset("synthetic").load("test").labels
    right = {name: networks[name].logits().argmax(axis=1) == labels for name in networks}
    gained = int((right["distilled"] & ~right["baseline"]).sum())
    lost = int((right["baseline"] & ~right["distilled"]).sum())
    pictures = choose(networks, 6)
    parsed = read(networks, pictures)
    assert f"is right on {gained:,} images, only its scratch baseline baseline on {lost:,}" in parsed.words
    first, second, *_ = pictures
    assert right["distilled"][first.index] > right["baseline"][first.index]
    assert right["baseline"][second.index] > right["distilled"][second.index]
    assert "wrong: " in parsed.captions()[0]
    for picture, caption in zip(pictures, parsed.captions(), strict=True):
        for name in networks:
            assert name in caption.partition("wrong: ")[0 if right[name][picture.index] else 2]


def test_the_counts_follow_the_numbers():
    for gained, lost, change in ((3, 1, "2 more"), (1, 3, "2 fewer"), (2, 2, "the same number")):
        row = make_row("kd", to_scratch_baseline=Difference(0.0, p=0.5, other="plain", gained=gained, lost=lost))
        (sentence,) = describe_changes([row, make_row("plain")])
        assert f"on {gained} images" in sentence
        assert sentence.partition("of 100 images ")[2].endswith(f"{change} correctly.")


def test_sections_follow_the_lecture_the_table_has_the_columns_with_values_and_class_maps_follow_t(networks, library):
    parsed, alone = read(networks), read({"teacher": networks["teacher"]}).words
    for column in ("95 % interval", "To baseline", "McNemar p", "Agrees with teacher"):  # `baseline` is a network
        assert column in parsed.words
    assert "Cross-entropy to human labels" not in parsed.words  # there are none
    assert "Calibration error (%)" in alone
    assert "Agrees with teacher" not in alone
    bundled = parsed.sections()
    assert bundled.index("methods") < bundled.index("attention") < bundled.index("results") < bundled.index("training")
    assert not {"experiments", "votes"} & {*bundled}
    ordered = read(networks, order=("results", "attention", "unknown")).sections()
    assert ordered[:2] == ["results", "attention"]
    assert set(ordered) == set(bundled)
    split, (rows,) = get_dataset("synthetic").load("test"), parsed.data()["shared"]["classes 2"]["rows"].values()
    expected, names = class_similarity(networks["distilled"].logits(), split.labels, 4.0), list(split.classes)
    for row in rows:
        at_4 = row["values"][TEMPERATURES.index(4.0)]
        assert at_4 == pytest.approx(expected[names.index(row["of"]), names.index(row["as"])], abs=1e-5)
    assert len(rows) == 90


def test_an_invalid_request_says_why(networks):
    pictures = pictures_of(networks, 1)
    with pytest.raises(DataError, match="test image 999 is missing"):
        pictures_of(networks, 999)
    for changes, words in (
        ({"pictures": []}, "choose 1 to"),
        ({"temperature": 0.1}, "temperature must be 0.5 to 20"),
        ({"alpha": float("nan")}, "alpha must be"),
        ({"networks": {f"n{k}": networks["distilled"] for k in range(6)}}, "at most four students"),
        ({"address": "javascript:alert(1)"}, "address"),
        ({"votes": (make_question(Picture(np.zeros((3, 32, 32), np.uint8)), ("cat", "dog")),)}, "closed"),
    ):
        with pytest.raises(ConfigError, match=words):
            HandoutRequest(**{"networks": networks, "pictures": pictures} | changes)


def test_human_labels_are_in_the_handout_where_they_are_available(tmp_path, make_checkpoint, library):
    logits = np.random.default_rng(0).normal(0, 3, (10_000, 10))
    cifar10 = get_dataset("cifar10")
    changes = {"classes": cifar10.classes, "data": {"dataset": "cifar10", "evaluation_images": 10_000}}
    networks = {"teacher": make_checkpoint(tmp_path / "teacher", logits=logits, **changes)}
    counts = np.ones((10_000, 10))
    counts[np.arange(10_000), cifar10.test_labels()] += 30
    assert "human labels" not in read(networks).data("charts-0")
    counts /= counts.sum(axis=1, keepdims=True)
    parsed = read(networks, human_labels=counts)
    rows = max(parsed.data("charts-0")["human labels"]["rows"].values(), key=len)
    assert max(row["p"] for row in rows) == pytest.approx(31 / 40)
    assert f"{cross_entropy_to_humans(counts, networks['teacher'].logits()).mean():.3f}" in parsed.words
    assert "closeness on the split" in parsed.data()["shared"]
    others = [replace(one, dataset="synthetic") for one in choose(networks, 2)]  # whom no annotator has seen
    assert "human labels" not in read(networks, others, human_labels=counts).data("charts-0")


def test_the_command_writes_a_file_that_contains_the_command(networks, library, tmp_path, command, monkeypatch):
    monkeypatch.setenv("KDEXPLORER_CHECKPOINTS", str(tmp_path))
    cat, output = tmp_path / "my <cat>.png", tmp_path / "out.html"
    Image.new("RGB", (60, 40), (200, 30, 30)).save(cat)
    write = ["handout", "-o", str(output), "--networks", "teacher"]
    words = ["distilled", "--images", "3", "--test-images", "8", "--photos", str(cat)]
    assert "3 images" in command(*write, *words).out
    parsed = Parsed(text := output.read_text())
    first, second, _ = parsed.captions()
    assert first.startswith("my <cat>.png")
    assert second.startswith("Test image 8")
    written = next(line for line in parsed.words.splitlines() if "python -m kdexplorer handout" in line)
    assert "--photos 'my <cat>.png'" in written
    assert str(tmp_path) not in text
    assert "--force" in command(*write, *words, code=2).err
    command(*write, "nobody", "--force", code=2)
    cat.write_bytes(b"no picture")
    assert "my <cat>.png" in command(*write, *words, "--force", code=1).err
    assert "not a regular file" in command(*write, *words[:-1], "/dev/zero", "--force", code=1).err
    assert output.read_text() == text


def test_every_run_of_a_networks_training_has_its_command(networks, make_checkpoint, tmp_path):
    assert page.list_commands(networks["distilled"]) == []  # its card contains no recipe
    recipe = {"dataset": "synthetic", "batch_size": 64}
    first = {"run": "one", "epochs": 8, "recipe": recipe}
    second = {"run": "two", "epochs": 5, "initial": "one/twice", "recipe": recipe}
    facts = {"objective": PRESETS["combined"], "teacher": {"name": "resnet56", "sha256": "0"}}
    continued = make_checkpoint(tmp_path / "twice", legs=[first, second], **facts)
    commands = page.list_commands(continued)
    assert ["--epochs 8" in commands[0], "initial=one/twice" in commands[0]] == [True, False]
    assert ["--epochs 5" in commands[1], "initial=RUN/twice" in commands[1]] == [True, True]
    for command in commands:
        assert "--batch-size 64" in command
        assert "--teacher resnet56" in command
        assert "--image-order source" in command  # as it was before it was an option
    student = parse_student(commands[0].split("--students ")[1])
    assert (student.name, student.objective) == ("twice", continued.card.objective)
    described = dict(page.describe_card(continued))
    assert (described["Epochs"], described["Continued"]) == ("13 (8 + 5)", "after its test accuracy was known")
    assert described["Objective"] == "0.3 · CE + 0.7 · KD (temperature 4) + 1000 · AT (power 1)"
    assert [text for name, text in described.items() if name.startswith("Command")] == commands
    unknown = make_checkpoint(tmp_path / "other" / "twice", legs=[first | {"recipe": {}}, second], **facts)
    assert page.list_commands(unknown) == []  # half of a training repeats nothing


def test_the_formulas_are_those_of_the_methods_that_were_used_and_every_ones_becomes_mathml(networks):
    used = [term.method for term in networks["distilled"].card.objective.terms]
    assert [method.key for method in page.used_methods(networks.values())] == used
    assert page.used_methods([networks["teacher"]]) == []
    assert page.to_mathml("<x_") == "<code>&lt;x_</code>"  # a plugin's, which must not cost the file
    for method in all_methods():
        text = page.to_mathml(method.formula)
        assert text.startswith("<math"), method.key
        assert not re.search(r"\\[a-zA-Z]+", text), method.key


def test_twelve_pictures_and_five_networks_weigh_at_most_three_megabytes_and_are_written_in_steps(
    networks, tmp_path, make_checkpoint
):
    more = {"logits": networks["distilled"].logits(), "objective": PRESETS["combined"]}
    networks |= {f"more{seed}": make_checkpoint(tmp_path / f"more{seed}", seed=seed, **more) for seed in (3, 4)}
    pictures, given = choose(networks, 12), []  # between two steps others may have a turn
    assert len(pictures) == 12
    text = page.build(HandoutRequest(networks, pictures), lambda: given.append(1))
    assert 1_000_000 < len(text.encode()) < 3_000_000
    assert len(given) >= len(pictures) + len(networks)


def test_own_pictures_come_first_and_none_twice(networks):
    chosen = choose(networks, 9)
    assert len({picture.index for picture in chosen}) == 9
    assert len(choose(networks, 500)) == 60
    own = [*chosen[3:5], Picture(np.zeros((3, 32, 32), np.uint8), name="mine")]
    more = choose(networks, 6, own)
    assert more[:3] == own
    assert len({picture.index for picture in more}) == len(more) == 6
