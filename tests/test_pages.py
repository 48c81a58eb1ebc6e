"""Overview, Soft labels and Attention without a browser: first state, main action, and each way to go wrong."""

from __future__ import annotations

import io
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import streamlit as st
from PIL import Image

from kdexplorer import attention_study, checkpoints, data, images, people

ROOT = Path(__file__).resolve().parent.parent
BUNDLED = {checkpoint.name for checkpoint in checkpoints.bundled()}

needs_bundled = pytest.mark.skipif(
    not {"resnet56", "resnet20-scratch", "resnet20-response"} <= BUNDLED, reason="the bundled networks are not here"
)


@pytest.fixture(autouse=True)
def clean(monkeypatch, tmp_path):
    """Sample images only, nothing cached from the test before."""
    monkeypatch.setenv("KDEXPLORER_DATA", str(tmp_path / "no-data"))
    monkeypatch.setattr(attention_study, "cache_folder", lambda: tmp_path / "cache")
    st.cache_data.clear()
    st.cache_resource.clear()


@pytest.fixture
def own(tmp_path, monkeypatch):
    """An empty folder of bundled networks to fill."""
    monkeypatch.setenv("KDEXPLORER_CHECKPOINTS", str(tmp_path / "bundled"))
    return tmp_path / "bundled"


@pytest.fixture(scope="module")
def built(make_checkpoint, tmp_path_factory):
    """A teacher and two students that know CIFAR-10's classes, with logits of the whole test split."""
    facts = {
        "classes": list(data.CIFAR10_CLASSES),
        "normalisation": data.NORMALISATION["cifar10"],
        "data": {"dataset": "cifar10", "measured_on": "test", "measured_images": 10_000},
    }

    own = tmp_path_factory.mktemp("pair")

    def make(name, seed, **changes):
        logits = np.random.default_rng(seed).normal(0, 3, (10_000, 10))
        return make_checkpoint(own / name, "resnet8", seed, logits, **facts | changes)

    teacher = make("teacher", 0)
    make("small-scratch", 1, run="r")
    make("small-response", 2, run="r", method="response", teacher={"name": "teacher", "sha256": teacher.sha256})
    return own


@pytest.fixture
def pair(own, built):
    """A copy of `built` that a test may damage."""
    shutil.copytree(built, own)
    return own


def text(at):
    kinds = (at.title, at.markdown, at.caption, at.info, at.warning, at.error)
    return "\n".join(str(element.value) for kind in kinds for element in kind)


def specs(at):
    return [json.loads(element.proto.spec) for element in at.get("vega_lite_chart")]


def titles(at):
    """Each chart's title, its lines joined."""
    texts = [spec["title"]["text"] for spec in specs(at)]
    return [" ".join(text) if isinstance(text, list) else str(text) for text in texts]


def photo(**options):
    buffer = io.BytesIO()
    Image.new("RGB", (80, 40), (200, 30, 30)).save(buffer, options.get("kind", "PNG"))
    return buffer.getvalue()


def uploaded(at, name, content, mime="image/png"):
    at.button_group(key="pick_source").set_value("Upload a photo").run()
    at.file_uploader(key="photo_file").set_value((name, content, mime)).run()
    return at


@needs_bundled
def test_overview_teaches_without_a_click(open_page):
    at = open_page()
    words = text(at)
    assert "knowledge distillation" in words
    assert "effective classes" in words
    assert "Where the numbers come from" in words
    assert titles(at)[:2] == ["The teacher's answer", "The same answer, softened"]
    assert "How accurate each network is" in titles(at)
    assert len(at.latex) == 2


def test_overview_does_not_wait_for_torch():
    code = (
        "import sys; from streamlit.testing.v1 import AppTest; "
        f"at = AppTest.from_file({str(ROOT / 'streamlit_app.py')!r}, default_timeout=120).run(); "
        "assert not at.exception; print('torch' in sys.modules)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert result.stdout.strip() == "False"


@pytest.mark.parametrize("name", [None, "soft_labels", "attention"])
def test_without_a_single_network(own, name, open_page):
    at = open_page(name)
    assert "no network to show yet" in text(at)


@pytest.mark.parametrize("name", [None, "soft_labels", "attention"])
def test_own_networks_of_any_name(pair, name, open_page):
    at = open_page(name)
    assert specs(at)
    assert not at.error
    alts = [picture.alt for element in at.image for picture in element.proto.imgs]
    assert alts
    assert all(alts)


@pytest.mark.parametrize("name", [None, "soft_labels", "attention"])
def test_damaged_card_is_left_out(pair, name, open_page):
    (pair / "small-scratch" / "card.json").write_text("{")
    at = open_page(name)
    assert specs(at)
    assert "small-scratch" not in str(specs(at))


def test_missing_logits_are_computed_from_the_weights(pair, open_page):
    (pair / "small-response" / "test_logits.npz").unlink()
    at = open_page("soft_labels")
    assert "small-response" in str(specs(at)[0])
    assert not at.error


def test_damaged_weights_are_named_and_the_others_still_shown(pair, open_page):
    weights = pair / "small-response" / "weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:-4] + b"oops")
    at = open_page("attention")
    assert "other SHA-256" in at.error[0].value
    assert "small-scratch" in str(specs(at))


def test_a_damaged_teacher_stops_the_page_with_a_sentence(pair, open_page):
    (pair / "teacher" / "weights.safetensors").write_bytes(b"")
    at = open_page("attention")
    assert "other SHA-256" in at.error[0].value


def test_soft_labels_first_state(pair, open_page):
    at = open_page("soft_labels")
    assert at.selectbox(key="pick_teacher").value == "teacher"
    assert at.multiselect(key="pick_students").value == ["small-scratch", "small-response"]
    chart = specs(at)[0]
    params = {param["name"]: param for param in chart["params"]}
    assert params["logT"]["value"] == 2  # T = 4
    assert "cat" in text(at)  # test image 0
    assert "20 of 20 images" in text(at)


def test_presets_pin_the_temperature_and_the_url_carries_it(pair, open_page):
    at = open_page("soft_labels")
    at.button_group(key="pick_T").set_value(8.0).run()
    assert {p["name"]: p for p in specs(at)[0]["params"]}["logT"]["value"] == 3
    assert at.query_params["T"] == "8"


def test_every_tab(pair, open_page):
    at = open_page("soft_labels")
    for tab, expected in (
        ("Curves over T", "Entropy grows with T"),
        ("Class similarity", "small-response"),
        ("What the student is told", "· T² KL"),
    ):
        at.session_state["soft_tab"] = tab
        assert expected in str(titles(at.run()))
    at.session_state["soft_tab"] = "Logits"
    assert len(at.run().dataframe) == 1


def test_class_similarity_without_labels_says_so(pair, open_page):
    at = open_page("soft_labels")
    at.session_state["soft_tab"] = "Class similarity"
    assert "grouped by the teacher's first answer" in text(at.run())
    assert "diagonal removed" in str(specs(at)[-1]["title"]["subtitle"])


@pytest.fixture
def human(tmp_path, monkeypatch):
    """People's answers, all in doubt between the label's class and the next."""
    _, labels, indices = images.sample_images()
    counts = np.ones((10_000, 10))
    counts[np.arange(10_000), 0] += 20
    counts[indices] = 1 + 40 * np.eye(10)[labels] + 15 * np.eye(10)[(labels + 1) % 10]
    np.save(tmp_path / "cifar10h-counts.npy", counts)
    monkeypatch.setenv(people.VARIABLE, str(tmp_path))
    return counts / counts.sum(axis=1, keepdims=True)


def test_people_have_a_column_and_a_tab(pair, human, open_page):
    at = open_page("soft_labels", image="3")
    assert "What people answered" in titles(at)
    assert "closest" in text(at)
    at.session_state["soft_tab"] = "People"
    assert "How close to people" in str(titles(at.run()))
    found = at.dataframe[0].value
    logits = checkpoints.open_checkpoint(pair / "small-response").logits()
    line = found[found["network"] == "small-response"].iloc[0]
    assert line.iloc[1] == pytest.approx(people.cross_entropy(human, logits).mean(), abs=1e-4)
    assert "Does distillation carry human doubt over?" in text(at)


def test_without_peoples_answers_the_tab_says_where_they_come_from(pair, open_page):
    at = open_page("soft_labels")
    assert "What people answered" not in titles(at)
    at.session_state["soft_tab"] = "People"
    assert "KDEXPLORER_CIFAR10H" in text(at.run())


def test_a_foreign_file_of_answers_is_one_sentence_and_the_page_goes_on(pair, human, tmp_path, open_page):
    (tmp_path / "cifar10h-counts.npy").write_bytes(b"no answers")
    at = open_page("soft_labels")
    assert "cannot be read as people's answers" in at.error[0].value
    assert "Soft labels at T" in str(specs(at)[0])


def test_compare_has_people_as_a_column(pair, human, open_page):
    table = open_page("compare").dataframe[0].value
    logits = checkpoints.open_checkpoint(pair / "small-scratch").logits()
    line = table[table["name"] == "small-scratch"].iloc[0]
    assert line["people"] == pytest.approx(people.cross_entropy(human, logits).mean())


@pytest.mark.parametrize("name", ["soft_labels", "compare"])
def test_the_handouts_button(pair, name, open_page):
    at = open_page(name)
    assert "Take it home" in [button.proto.label for button in at.get("download_button")]


def test_next_previous_random_and_thumbnails(pair, open_page):
    at = open_page("soft_labels")
    at.button(key="pick_Next").click().run()
    assert "Test image 1:" in text(at)
    at.button(key="pick_Previous").click().run()
    at.button(key="pick_Previous").click().run()
    assert "Test image 19:" in text(at)  # round the corner
    at.button(key="pick_thumb_12").click().run()
    assert "Test image 12:" in text(at)
    assert at.query_params["image"] == "12"
    at.button(key="pick_Random").click().run()
    assert "Test image" in text(at)


def test_filters_and_classes(pair, open_page):
    at = open_page("soft_labels")
    for name in at.selectbox(key="pick_filter").options:
        at.selectbox(key="pick_filter").select(name).run()
    at.selectbox(key="pick_filter").select("All images").run()
    at.selectbox(key="pick_class").select("frog").run()
    assert "**frog**" in text(at)


def test_a_filter_that_nothing_passes(pair, open_page):
    at = open_page("soft_labels")
    at.selectbox(key="pick_class").select("bird").run()  # none of the 20 samples
    assert "No image passes this filter" in text(at)


def test_the_choice_is_kept_across_pages(pair, open_page):
    at = open_page("soft_labels")
    at.button(key="pick_thumb_5").click().run()
    at.multiselect(key="pick_students").set_value(["small-response"]).run()
    at.switch_page("pages/attention.py").run()
    assert "Test image 5:" in text(at)
    assert at.multiselect(key="pick_students").value == ["small-response"]


def test_a_family_goes_with_its_teacher_on_every_page(pair, open_page, make_checkpoint):
    """Students follow a teacher that is chosen; Compare shows the chosen teacher's family and tests against it."""
    facts = json.loads((pair / "teacher" / "card.json").read_text())
    facts = {key: facts[key] for key in ("classes", "normalisation", "data")}
    logits = np.random.default_rng(5).normal(0, 3, (10_000, 10))
    big = make_checkpoint(pair / "big", "resnet20", 5, logits, **facts)
    told = {"name": "big", "sha256": big.sha256}
    make_checkpoint(pair / "their-scratch", "resnet8", 6, logits, run="b", **facts)
    make_checkpoint(pair / "their-feature", "resnet8", 7, logits, run="b", method="feature", teacher=told, **facts)
    at = open_page("attention", students="small-scratch,small-response")
    at.selectbox(key="pick_teacher").set_value("big").run()
    assert at.multiselect(key="pick_students").value == ["their-scratch", "their-feature"]
    assert "students" not in at.query_params
    at.multiselect(key="pick_students").set_value(["their-feature", "small-response"]).run()
    at.selectbox(key="pick_teacher").set_value("teacher").run()
    assert at.multiselect(key="pick_students").value == ["their-feature", "small-response"]  # one is the new one's own
    at.selectbox(key="pick_teacher").set_value("big").run()
    at.switch_page("pages/compare.py").run()
    assert set(at.multiselect(key="compare_networks").value) == {"big", "their-scratch", "their-feature"}
    assert at.selectbox(key="compare_teacher").value == "big"
    assert at.selectbox(key="compare_baseline").value == "their-scratch"
    at.selectbox(key="compare_teacher").set_value(None).run()
    assert at.selectbox(key="compare_teacher").value is None
    assert set(at.multiselect(key="compare_networks").value) == {"big", "their-scratch", "their-feature"}


def test_a_link_reproduces_the_view(pair, open_page):
    at = open_page("soft_labels", image="7", T="2", alpha="0.3", students="small-scratch", teacher="teacher")
    assert "Test image 7:" in text(at)
    assert at.multiselect(key="pick_students").value == ["small-scratch"]
    assert {p["name"]: p for p in specs(at)[0]["params"]}["logT"]["value"] == 1
    assert {p["name"]: p for p in specs(at)[1]["params"]}["alpha"]["value"] == 0.3


FORGED = [
    {"image": "-1"},
    {"image": "99999999999999999999999"},
    {"image": "١"},
    {"image": "<script>"},
    {"T": "0"},
    {"T": "nan"},
    {"T": "1e999"},
    {"T": "four"},
    {"alpha": "7"},
    {"teacher": "../../etc/passwd"},
    {"students": "small-scratch,nobody"},
    {"students": ","},
]


@pytest.mark.parametrize(
    ("name", "query"), [*(("soft_labels", q) for q in FORGED), ("attention", {"image": "20"})], ids=str
)
def test_forged_values_are_dropped_with_a_word(pair, name, query, open_page):
    at = open_page(name, **query)
    assert specs(at)
    if query != {"students": ","}:
        assert "was not used" in at.warning[0].value


def test_a_teacher_among_the_students_is_not_its_own_student(pair, open_page):
    at = open_page("soft_labels", students="teacher,small-scratch")
    assert at.multiselect(key="pick_students").value == ["small-scratch"]


def test_no_student_at_all(pair, open_page):
    at = open_page("soft_labels")
    at.multiselect(key="pick_students").set_value([]).run()
    assert "Choose a student above" in text(at)
    at.switch_page("pages/attention.py").run()
    assert "Choose a student" in text(at)


def test_upload(pair, open_page):
    at = uploaded(open_page("soft_labels"), "photo.png", photo())
    assert "ten classes and see 32 × 32 pixels" in text(at)
    assert "Your photo as the network sees it" in text(at)
    assert "only the teacher pushes" in text(at)
    at.button_group(key="pick_fit").set_value("letterbox").run()
    assert specs(at)
    at.switch_page("pages/attention.py").run()
    assert "Your photo" in text(at)


def test_an_upload_is_let_go_once_its_pixels_were_taken(pair, monkeypatch, open_page):
    from streamlit.runtime.memory_uploaded_file_manager import MemoryUploadedFileManager as Manager

    gone, remove = [], Manager.remove_file
    monkeypatch.setattr(Manager, "remove_file", lambda self, *which: gone.append(which) or remove(self, *which))
    at = uploaded(open_page("soft_labels"), "one.png", photo())
    assert len(gone) == 1
    assert "Your photo as the network sees it" in text(at)
    at.file_uploader(key="photo_file").set_value(("bad.png", b"bad", "image/png")).run()
    assert len(gone) == 1  # its sentence stays while it is chosen
    assert at.error


@pytest.mark.parametrize("content", [b"", b"GIF89a", b"\x89PNG\r\n\x1a\nbroken", photo()[:40]])
def test_bad_upload(pair, content, open_page):
    at = uploaded(open_page("soft_labels"), "photo.png", content)
    assert "not a PNG, JPEG or WebP" in at.error[0].value
    at.button_group(key="pick_source").set_value("Test images").run()
    assert specs(at)


def test_upload_not_yet_chosen(pair, open_page):
    at = open_page("attention")
    at.button_group(key="pick_source").set_value("Upload a photo").run()
    assert "No photo yet" in text(at)


def test_attention_measures_the_samples_and_answers(pair, open_page):
    at = open_page("attention")
    assert "Where each network looks" in titles(at)
    assert "Who looks where the teacher looks" in titles(at)
    assert "Closest at stage 3" in text(at)


def test_attention_names_who_cannot_be_compared_stage_by_stage(pair, open_page, make_checkpoint):
    facts = {"classes": list(data.CIFAR10_CLASSES), "normalisation": data.NORMALISATION["cifar10"]}
    make_checkpoint(pair / "mobile", "mobilenet_v2", **facts)
    at = open_page("attention", students="small-scratch,mobile")
    assert "mobile is left out" in text(at)
    assert "small-scratch" in str(specs(at)[-1])
    assert "mobile" not in str(specs(at)[-1])
    at.multiselect(key="pick_students").set_value(["mobile"]).run()
    assert "Choose a student" in text(at)


@pytest.mark.parametrize("mode", ["map", "difference"])
@pytest.mark.parametrize("scale", ["shared", "per map"])
def test_attention_modes(pair, mode, scale, open_page):
    at = open_page("attention")
    groups = {group.label: group for group in at.button_group}
    groups["Colours show"].set_value(mode)
    groups["Scale"].set_value(scale)
    groups["Power"].set_value(2)
    at.run()
    assert ("One scale for all maps" in titles(at)) == (scale == "shared")


def test_networks_of_other_classes_and_other_stages(own, make_checkpoint, open_page):
    logits = np.random.default_rng(0).normal(size=(data.SYNTHETIC_SIZES["test"], 10))
    facts = {"data": {"dataset": "synthetic", "measured_on": "test", "measured_images": len(logits)}}
    teacher = make_checkpoint(own / "shapes", "resnet8", 0, logits, **facts)
    reference = {"name": "shapes", "sha256": teacher.sha256}
    make_checkpoint(own / "shapes-mobile", "mobilenet_v2", 1, logits, method="feature", teacher=reference, **facts)
    at = open_page("soft_labels")
    assert "triangle frame" in str(at.get("vega_lite_chart")[0].proto)
    assert f"{len(logits):,} of {len(logits):,} images" in text(at)
    at.switch_page("pages/attention.py").run()
    assert "other stages than" in str(at.get("vega_lite_chart")[1].proto)


def test_two_classes_only(own, make_checkpoint, open_page):
    from kdexplorer import models

    network = models.build("resnet8", classes=2, seed=0)
    card = {
        "name": "two",
        "architecture": "resnet8",
        "parameters": models.parameter_count(network),
        "classes": ["cat", "dog"],
        "normalisation": data.NORMALISATION["cifar10"],
        "test_accuracy": 0.5,
        "test_cross_entropy": 0.7,
    }
    checkpoints.save(own / "two", checkpoints.half_precision(network), card, None)
    for name in (None, "soft_labels", "attention"):
        at = open_page(name)
        assert not at.error


def test_whole_split(pair, real_root, monkeypatch, open_page):
    monkeypatch.setenv("KDEXPLORER_DATA", str(real_root))
    at = open_page("soft_labels", image="9999")
    assert "Test image 9999:" in text(at)
    assert "10,000 of 10,000 images" in text(at)
    at.selectbox(key="pick_filter").select("Distillation fixed it").run()
    at.session_state["soft_tab"] = "Class similarity"
    assert "grouped by the teacher" not in text(at.run())
