"""The handout: what is in the file, that nothing in it can break out, and what cannot be made."""

import base64
import hashlib
import io
import json
import re
import subprocess
import sys
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from kdexplorer import cli, data, images, people
from kdexplorer.errors import ConfigError, DataError
from kdexplorer.handout import content, order, page, sources

EVIL = '"><img src=x onerror=alert(1)></script><script>alert(2)</script>.png'


@pytest.fixture
def networks(tmp_path, make_checkpoint, tiny):
    """A teacher and two students on the synthetic set, with answers to its whole test split."""
    logits = np.random.default_rng(0).normal(0, 3, (3, 120, 10))
    split = data.load_split("synthetic", "test")
    logits[:, np.arange(120), split.labels] += np.array([4.0, 2.0, 3.0])[:, None]
    teacher = make_checkpoint(tmp_path / "teacher", logits=logits[0])
    facts = {"run": "r", "teacher": {"name": "teacher", "sha256": teacher.sha256}}
    return {
        "teacher": teacher,
        "alone": make_checkpoint(tmp_path / "alone", seed=1, logits=logits[1], **facts),
        "told": make_checkpoint(tmp_path / "told", seed=2, logits=logits[2], method="response", **facts),
    }


@pytest.fixture
def library(monkeypatch):
    """Building the real library takes seconds; what is tested here does not run it."""
    monkeypatch.setattr(page, "_library", lambda: "window.vegaEmbed = null;")


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

    def policy(self):
        given = next(a["content"] for _, a in self.tags if a.get("http-equiv") == "Content-Security-Policy")
        return {name: value for name, _, value in (part.strip().partition(" ") for part in given.split(";"))}

    def data(self, name="data"):
        return next(json.loads(text) for tag, attributes, text in self.raw if attributes.get("id") == name)

    def captions(self):
        return [attributes["alt"] for tag, attributes in self.tags if tag == "img" and attributes.get("width") == "48"]


def made(networks, pictures=None, given=None, **options):
    given = given or sources.from_disk()
    teacher, *students = networks.values()
    pictures = pictures or sources.choose(2, teacher, students, given)
    return page.build(order.Order(networks, pictures, **options), given)


def test_everything_is_in_the_file_and_nothing_else_may_come_in(networks, library):
    parsed = Parsed(made(networks))
    policy = parsed.policy()
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
    parts = {attributes["id"] for tag, attributes in parsed.tags if tag == "section"}
    assert [attributes["href"][1:] in parts for tag, attributes in parsed.tags if tag == "a"] == [True] * len(parts)


def test_a_file_name_full_of_markup_stays_text(networks, library):
    photo = sources.Picture(np.zeros((3, 32, 32), np.uint8), name=EVIL)
    text = made(networks, [photo], command=f"python -m kdexplorer handout --photos {EVIL}")
    parsed = Parsed(text)
    assert "alert(2)</script>" not in text
    assert [t for t, attributes in parsed.tags if t == "script" and not attributes] == ["script"] * 2
    assert not [a for _, a in parsed.tags if "onerror" in a]
    assert EVIL in parsed.words
    assert parsed.captions()[0].startswith(EVIL)


def test_the_charts_hold_what_the_networks_answer(networks, library):
    given = sources.from_disk()
    pictures = sources.test_pictures([5, 7], "synthetic", given)
    parsed = Parsed(made(networks, pictures, given, temperature=2.0, alpha=0.25))
    assert parsed.data()["signals"] == {"T": 2.0, "alpha": 0.25, "opacity": 0.65}
    charts = parsed.data("charts-1")
    rows = max(charts["mirrored"]["rows"].values(), key=len)
    for name, checkpoint in networks.items():
        logits = [row["logit"] for row in rows if row["network"] == name]
        np.testing.assert_allclose(logits, checkpoint.logits()[7], rtol=1e-6)
    assert "Test image 7" in parsed.captions()[1]
    assert charts.keys() == {"mirrored", "scale", "attention", "told 1", "told 2"}


def test_a_shape_is_in_the_file_once_and_has_no_slider_of_its_own(networks, library):
    parsed = Parsed(made(networks))
    shapes, first, second = parsed.data()["shapes"], parsed.data("charts-0"), parsed.data("charts-1")
    for name in ("mirrored", "attention", "told 1", "told 2"):
        assert first[name]["shape"] == second[name]["shape"]
        assert first[name]["rows"] != second[name]["rows"]
        shape = shapes[first[name]["shape"]]
        assert {data["name"] for data in shape["data"] if "source" not in data} == first[name]["rows"].keys()
        assert first[name]["values"].keys() <= {signal["name"] for signal in shape["signals"]}
    assert first["mirrored"]["subtitle"].startswith("★ and shading")
    assert not [signal for shape in shapes for signal in shape["signals"] if "bind" in signal]
    assert len(shapes) == len({json.dumps(shape) for shape in shapes})


def test_the_class_maps_follow_the_temperature(networks, library):
    from kdexplorer import metrics

    split = data.load_split("synthetic", "test")
    found = Parsed(made(networks)).data()
    shape = found["shapes"][found["shared"]["classes 2"]["shape"]]
    rows = next(data["values"] for data in shape["data"] if "values" in data["values"][0])
    at = content.OCTAVES.index(2.0)
    expected = metrics.class_similarity(networks["told"].logits(), split.labels, 4.0)
    names = list(split.classes)
    for row in rows:
        assert row["values"][at] == pytest.approx(expected[names.index(row["of"]), names.index(row["as"])], abs=1e-5)
    assert len(rows) == 90


def test_the_table_has_intervals_and_the_paired_test(networks, library):
    words = Parsed(made(networks)).words
    assert "95 % interval" in words
    assert "To alone" in words
    assert "McNemar p" in words
    assert "Cross-entropy against people" not in words  # nobody's answers are at hand


def test_a_column_without_a_value_is_left_out(networks, library):
    alone = {name: networks[name] for name in ("teacher",)}
    words = Parsed(made(alone)).words
    assert "Calibration error" in words
    assert "Agrees with teacher" not in words


def test_pictures_that_tell_something_come_first_and_none_twice(networks):
    teacher, *students = networks.values()
    given = sources.from_disk()
    chosen = sources.choose(9, teacher, students, given)
    assert len({picture.index for picture in chosen}) == 9
    scratch, distilled = (c.logits().argmax(axis=1) for c in students)
    first = chosen[0]
    assert distilled[first.index] == first.label != scratch[first.index]
    assert len(sources.choose(500, teacher, students, given)) == 120
    own = [*chosen[3:5], sources.Picture(np.zeros((3, 32, 32), np.uint8), name="mine")]
    more = sources.choose(6, teacher, students, given, own)
    assert more[:3] == own
    assert len({picture.index for picture in more}) == len(more) == 6


def test_what_cannot_be_ordered_says_why(networks):
    given = sources.from_disk()
    pictures = sources.test_pictures([1], "synthetic", given)
    with pytest.raises(DataError, match="no test image 999"):
        sources.test_pictures([999], "synthetic", given)
    for changes, words in (
        ({"pictures": []}, "choose 1 to"),
        ({"temperature": 0.1}, "temperature must be 0.5 to 20"),
        ({"alpha": float("nan")}, "alpha must be"),
        ({"networks": {f"n{k}": networks["told"] for k in range(6)}}, "at most four students"),
    ):
        with pytest.raises(ConfigError, match=words):
            order.Order(**{"networks": networks, "pictures": pictures} | changes)


def test_people_are_in_the_handout_where_their_answers_are(tmp_path, make_checkpoint, library, monkeypatch):
    monkeypatch.setenv("KDEXPLORER_DATA", str(tmp_path / "no-data"))
    logits = np.random.default_rng(0).normal(0, 3, (10_000, 10))
    facts = {
        "classes": list(data.CIFAR10_CLASSES),
        "data": {"dataset": "cifar10", "measured_on": "test", "measured_images": 10_000},
    }
    networks = {"teacher": make_checkpoint(tmp_path / "teacher", logits=logits, **facts)}
    counts = np.ones((10_000, 10))
    _, labels, indices = images.sample_images()
    counts[indices, labels] += 30
    assert "people" not in Parsed(made(networks)).data("charts-0")
    np.save(tmp_path / "answers.npy", counts)
    monkeypatch.setenv("KDEXPLORER_CIFAR10H", str(tmp_path / "answers.npy"))
    parsed = Parsed(made(networks))
    rows = max(parsed.data("charts-0")["people"]["rows"].values(), key=len)
    assert max(row["p"] for row in rows) == pytest.approx(31 / 40)
    stored = networks["teacher"].logits()
    at_one = people.cross_entropy(counts / counts.sum(axis=1, keepdims=True), stored).mean()
    assert f"{at_one:.4f}".rstrip("0") in parsed.words
    assert "closest of all" in parsed.data()["shared"]


def test_the_command_writes_a_file_that_says_how_it_was_made(networks, library, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("KDEXPLORER_CHECKPOINTS", str(tmp_path))
    cat = tmp_path / "my <cat>.png"
    buffer = io.BytesIO()
    Image.new("RGB", (60, 40), (200, 30, 30)).save(buffer, "PNG")
    cat.write_bytes(buffer.getvalue())
    output = tmp_path / "out.html"
    words = ["--networks", "teacher", "told", "--images", "3", "--test-images", "8", "--photos", str(cat)]
    assert cli.main(["handout", *words, "-o", str(output)]) == 0
    assert "3 pictures" in capsys.readouterr().out
    parsed = Parsed(output.read_text())
    captions = parsed.captions()
    assert captions[0].startswith("my <cat>.png")
    assert captions[1].startswith("Test image 8")
    command = next(line for line in parsed.words.splitlines() if "python -m kdexplorer handout" in line)
    assert "--photos 'my <cat>.png'" in command
    assert str(tmp_path) not in output.read_text()
    assert cli.main(["handout", "--networks", "nobody", "-o", str(output)]) == 2
    cat.write_bytes(b"no picture")
    assert cli.main(["handout", *words, "-o", str(output)]) == 1
    assert "my <cat>.png" in capsys.readouterr().err


def test_a_card_gives_the_command_that_trains_such_a_network(networks):
    from kdexplorer import checkpoints

    assert page.retraining(networks["told"]) is None  # its card holds no recipe
    bundled = {c.name: c for c in checkpoints.bundled()}
    if "resnet20-response" not in bundled:
        pytest.skip("the bundled networks are not here")
    command = page.retraining(bundled["resnet20-response"])
    assert re.match(r"python -m kdexplorer train .*--teacher resnet56 .*--students resnet20:response(:\S+)?$", command)
    cli.parser().parse_args(command.split()[3:])


def test_the_library_can_stand_in_a_script_element():
    library = page._library()
    assert "vegaEmbed" in library
    assert "</script" not in library.lower()
    assert len(library) < 1_200_000


def test_twelve_pictures_and_five_networks_weigh_at_most_three_megabytes(networks, tmp_path, make_checkpoint):
    for seed in (3, 4):
        networks[f"more{seed}"] = make_checkpoint(
            tmp_path / f"more{seed}", seed=seed, logits=networks["told"].logits(), method="combined"
        )
    given = sources.from_disk()
    pictures = sources.choose(12, networks["teacher"], [], given)
    size = len(made(networks, pictures, given).encode())
    assert len(pictures) == 12
    assert 1_000_000 < size < 3_000_000


def test_it_needs_no_streamlit():
    code = "import sys, kdexplorer.handout.page; print('streamlit' in sys.modules, 'altair' in sys.modules)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.split() == ["False", "True"]
