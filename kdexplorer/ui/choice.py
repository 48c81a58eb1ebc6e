"""The choice that every page shares: image, networks, temperature, alpha. Kept across pages and in the URL.

A value comes from the URL when that says something new, else from the session, else from the page's default. What
comes from the URL is checked like anything from outside: a name that no network has, or an image that is not there,
is dropped with a word.

    teacher, students = choice.pick_networks(default=("scratch", "response"))   # draws two widgets
    image = choice.pick_image(teacher, students)
    temperature = choice.temperature()
"""

from __future__ import annotations

import math
import random
import re
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import streamlit as st
from streamlit.runtime.pages_manager import PagesManager

from kdexplorer import gallery, images
from kdexplorer.checkpoints import Checkpoint
from kdexplorer.errors import ImageError
from kdexplorer.handout.sources import Picture
from kdexplorer.ui import cached
from kdexplorer.ui.charts_soft import T_MAX, T_MIN

TEMPERATURES = (1.0, 2.0, 4.0, 8.0, 20.0)
ALPHAS = (0.0, 0.3, 0.5, 0.7, 0.9, 1.0)
MAX_STUDENTS = 4

_MEMORY, _URL = "choice", "choice_url"


def through_the_door() -> None:
    """Every page's first line: starts again through `streamlit_app.py` where Streamlit went round it.

    A folder called `pages` makes Streamlit (1.67, `runtime/pages_manager.py`) begin in its old multipage mode: until
    the first `st.navigation` of a server's life, a deep link runs the page file alone, with neither navigation nor
    page configuration. Ending that mode and running again resolves the same link to the same page.
    """
    if PagesManager.uses_pages_directory:
        PagesManager.uses_pages_directory = False
        st.rerun()


def get(name: str, default: Any, parse: Callable[[str], Any]) -> Any:
    """The current value of a shared choice.

    Args:
        name: also its name in the URL.
        default: what it is until somebody chooses.
        parse: turns the URL's text into a value; raises ValueError on anything that must not be used.
    """
    memory = st.session_state.setdefault(_MEMORY, {})
    seen = st.session_state.setdefault(_URL, {})
    text = st.query_params.get(name)
    if text is not None and text != seen.get(name):
        seen[name] = text
        try:
            memory[name] = parse(text)
        except (ValueError, OverflowError) as error:
            memory.pop(name, None)
            st.warning(f"The link's '{name}' was not used: {as_text(str(error))}.")
    return memory.get(name, default)


def as_text(words: str) -> str:
    """Words from outside, for a place that reads Markdown: shown as they are, no link, no image, no formula."""
    escaped = re.sub(r"([\\`*_\[\]<>#!|~$:&])", r"\\\1", words)
    return escaped.replace("//", "/\u2060/").replace("www.", "www\u2060.")  # what Markdown makes a link by itself


def put(name: str, value: Any, text: str | None = None) -> None:
    """Remembers a choice and writes it into the URL (`text`, or the value itself)."""
    st.session_state.setdefault(_MEMORY, {})[name] = value
    publish(name, str(value) if text is None else text)


def publish(name: str, text: str) -> None:
    """Puts text into the URL, where it is not there already."""
    st.session_state.setdefault(_URL, {})[name] = text
    if st.query_params.get(name) != text:
        st.query_params[name] = text


def touched(name: str) -> bool:
    """Whether anybody (or the URL) has chosen this value."""
    return name in st.session_state.get(_MEMORY, {})


def networks() -> dict[str, Checkpoint]:
    """All networks by name; says what to do and ends the page where there is none."""
    found = cached.all_checkpoints()
    if not found:
        st.info("There is no network to show yet. Train one on the page Launch, or restore the folder checkpoints.")
        st.stop()
    return found


def is_student_of(checkpoint: Checkpoint, teacher: Checkpoint) -> bool:
    """Whether a network learnt from this teacher (or, from scratch, beside one that did)."""
    return (checkpoint.card.get("teacher") or {}).get("sha256") == teacher.sha256


def default_teacher(found: dict[str, Checkpoint]) -> str:
    """The first network that others name as their teacher, else the largest."""
    taught = {(c.card.get("teacher") or {}).get("sha256") for c in found.values()}
    return next((name for name, c in found.items() if c.sha256 in taught), next(iter(found)))


def family(found: dict[str, Checkpoint], teacher: Checkpoint) -> dict[str, str]:
    """The teacher's first students of one architecture and run, as method to name; may be empty."""
    first = next((c for c in found.values() if is_student_of(c, teacher)), None)
    if first is None:
        return {}
    same = {}
    for name, c in found.items():
        alike = c.architecture == first.architecture and c.card.get("run") == first.card.get("run")
        if alike and c.sha256 != teacher.sha256:
            same.setdefault(c.card.get("method") or "scratch", name)
    return {method: same[method] for method in ("scratch", "response", "feature", "combined") if method in same}


def pick_one(
    name: str,
    label: str,
    options: Sequence[str],
    usual: str | None,
    key: str,
    known: Collection[str] | None = None,
    what: str = "network",
    **widget: Any,
) -> str | None:
    """Draws the choice of one of several and returns it.

    Args:
        name: the shared choice's, also in the URL.
        label: the widget's.
        options: what can be chosen here.
        usual: the choice until there is another one, and where that cannot be chosen here.
        key: the widget's.
        known: what a link may name without being told off, `options` if not given: a network may exist, yet not fit.
        what: the options' kind, for that sentence.
        widget: more of `st.selectbox`.
    """
    parse = _named(options if known is None else known, what)
    chosen = get(name, usual, parse)
    chosen = chosen if chosen in options else usual
    st.session_state[key] = chosen
    st.selectbox(label, options, key=key, on_change=remember, args=(name, key), **widget)
    if touched(name) and chosen:
        publish(name, chosen)
    return chosen


def pick_several(
    name: str,
    label: str,
    options: Sequence[str],
    usual: Sequence[str],
    key: str,
    most: int,
    known: Collection[str] | None = None,
    what: str = "network",
    **widget: Any,
) -> list[str]:
    """Draws the choice of up to `most` of several and returns it; see `pick_one`. In the URL commas part the names."""
    parse = _named(options if known is None else known, what)
    chosen = get(name, usual, lambda text: [parse(part) for part in text.split(",") if part][:most])
    chosen = [one for one in chosen if one in options]
    st.session_state[key] = chosen
    st.multiselect(label, options, key=key, max_selections=most, on_change=remember, args=(name, key), **widget)
    if touched(name):
        publish(name, ",".join(chosen))
    return chosen


def _named(known: Collection[str], what: str) -> Callable[[str], str]:
    """A parser for the URL: a name that is known."""

    def parse(text: str) -> str:
        if text not in known:
            raise ValueError(f"there is no {what} '{text[:60]}'")
        return text

    return parse


def pick_networks(
    default: Sequence[str] = ("scratch", "response"), columns: Sequence[Any] | None = None
) -> tuple[Checkpoint, list[Checkpoint]]:
    """Draws the choice of a teacher and up to four students; `default` lists methods of the teacher's students."""
    found = networks()
    left, right = columns or st.columns([1, 2])
    with left:
        teacher = found[pick_one("teacher", "Teacher", list(found), default_teacher(found), "pick_teacher")]
    others = [name for name, c in found.items() if c.sha256 != teacher.sha256 and c.classes == teacher.classes]
    relatives = family(found, teacher)
    usual = [relatives[method] for method in default if method in relatives] or others[:1]
    with right:
        chosen = pick_several(
            "students",
            "Students",
            others,
            usual,
            "pick_students",
            MAX_STUDENTS,
            known=found,
            placeholder="Choose up to four students",
        )
    return teacher, [found[name] for name in chosen]


def number_within(low: float, high: float) -> Callable[[str], float]:
    """A parser for the URL: a finite number from low to high."""

    def parse(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            raise ValueError(f"'{text[:30]}' is not a number") from None
        if not math.isfinite(value) or not low <= value <= high:
            raise ValueError(f"{text[:30]} is not between {low:g} and {high:g}")
        return value

    return parse


def temperature() -> float:
    """The pinned temperature, without a widget."""
    return get("T", 4.0, number_within(T_MIN, T_MAX))


def alpha() -> float:
    """The weight on the teacher's term, without a widget."""
    return get("alpha", 0.7, number_within(0.0, 1.0))


def pick_temperature() -> float:
    """Draws the presets and returns the pinned temperature: where sliders start, and what the URL carries."""
    return _pick_number("T", "Pinned temperature", temperature(), TEMPERATURES, "T = {:g}")


def pick_alpha() -> float:
    """Draws the presets and returns the pinned weight on the teacher's term."""
    return _pick_number("alpha", "Pinned α", alpha(), ALPHAS, "{:g}")


def _pick_number(name: str, label: str, pinned: float, presets: Sequence[float], form: str) -> float:
    """Draws presets of a shared number; none is marked where a link pinned another value."""
    key = f"pick_{name}"
    st.session_state[key] = pinned if pinned in presets else None
    st.segmented_control(label, presets, format_func=form.format, key=key, on_change=remember, args=(name, key))
    if touched(name):
        publish(name, f"{pinned:g}")
    return pinned


def remember(name: str, key: str) -> None:
    """A widget's callback (`on_change=choice.remember, args=(name, key)`): what was chosen is the shared choice."""
    value = st.session_state[key]
    if value is None:
        return
    st.session_state.setdefault(_MEMORY, {})[name] = value
    text = ",".join(value) if isinstance(value, list) else f"{value:g}" if isinstance(value, float) else str(value)
    publish(name, text)


# The image.

SOURCES = ("Test images", "Upload a photo", "Camera")
FITS = {"crop": "Centre crop", "letterbox": "Letterbox"}
THUMBNAILS = 10


@dataclass(frozen=True)
class ChosenImage(Picture):
    """The picture that every page shows, and the data set whose test image it is."""

    dataset: str = "cifar10"

    @property
    def for_the_eye(self) -> np.ndarray:
        """uint8 `[32, 32, 3]`."""
        return self.pixels.transpose(1, 2, 0)


def pick_image(teacher: Checkpoint, students: list[Checkpoint]) -> ChosenImage:
    """Draws the choice of an image: gallery with filters, upload, camera. Ends the page while there is none."""
    source = get("source", SOURCES[0], lambda text: SOURCES[0])
    st.session_state["pick_source"] = source
    st.segmented_control(
        "Where the image comes from", SOURCES, key="pick_source", required=True, on_change=_remember_source
    )
    return _pick_photo(source) if source != SOURCES[0] else _pick_from_gallery(teacher, students)


def _remember_source() -> None:
    memory = st.session_state.setdefault(_MEMORY, {})
    memory["source"] = st.session_state["pick_source"] or SOURCES[0]


def _pick_photo(source: str) -> ChosenImage:
    memory = st.session_state.setdefault(_MEMORY, {})
    if source == SOURCES[1]:
        file = st.file_uploader(
            "PNG, JPEG or WebP, at most 5 MB", type=["png", "jpg", "jpeg", "webp"], key="photo_file"
        )
    else:
        file = st.camera_input("Take a picture", key="photo_camera")
    st.session_state["pick_fit"] = memory.get("fit", "crop")
    st.segmented_control(
        "To make it square", list(FITS), format_func=FITS.get, key="pick_fit", required=True, on_change=_remember_fit
    )
    if file is not None:
        try:
            _take_photo(file.getvalue())
        except ImageError as error:
            memory.pop("photo", None)
            st.error(str(error))
    if "photo" not in memory:
        st.info("No photo yet: choose one above, or go back to the test images.")
        st.stop()
    st.warning(
        "These networks know ten classes and see 32 × 32 pixels. They must answer with one of the ten, "
        "whatever the photo shows."
    )
    return ChosenImage(memory["photo"][memory.get("fit", "crop")].transpose(2, 0, 1))


def _take_photo(data: bytes) -> None:
    photo = {fit: images.decode_image(data, fit) for fit in FITS}
    st.session_state.setdefault(_MEMORY, {})["photo"] = photo


def use_photo(data: bytes) -> None:
    """Makes a picture the one that every page shows, as if it had been uploaded. Raises ImageError."""
    _take_photo(data)
    st.session_state[_MEMORY]["source"] = SOURCES[1]


def _remember_fit() -> None:
    st.session_state.setdefault(_MEMORY, {})["fit"] = st.session_state["pick_fit"] or "crop"


def _pick_from_gallery(teacher: Checkpoint, students: list[Checkpoint]) -> ChosenImage:
    dataset = cached.dataset_of(teacher)
    pixels, labels, indices = cached.gallery(dataset)
    if not len(labels):
        st.info("There are no sample images here. Get CIFAR-10 on the page Launch, or upload a photo.")
        st.stop()
    ranks = {int(index): rank for rank, index in enumerate(indices)}

    def known(text: str) -> int:
        if not text.isascii() or not text.isdigit() or int(text[:9]) not in ranks:
            raise ValueError(f"there is no test image '{text[:20]}' here")
        return int(text[:9])

    index = get("image", None, known)
    answers = cached.gallery_answers(teacher, students, dataset, indices, labels)
    order = np.arange(len(labels))
    if answers is not None:
        left, right = st.columns(2)
        filters = gallery.available(answers)
        with left:
            chosen = st.selectbox("Show", filters, key="pick_filter", on_change=_jump)
        with right:
            classes = ["Any class", *teacher.classes]
            wanted = st.selectbox("Class", classes, key="pick_class", on_change=_jump)
        order = gallery.positions(chosen, answers, classes.index(wanted) - 1 if wanted != classes[0] else None)
        samples = "" if len(labels) > len(images.sample_images()[1]) else " These are samples: get CIFAR-10 on Launch."
        st.caption(f"{len(order):,} of {len(labels):,} images: {gallery.EXPLAINED[chosen]}.{samples}")
        if not len(order):
            st.info("No image passes this filter. Choose another filter or class.")
            st.stop()
    place = {int(indices[rank]): position for position, rank in enumerate(order)}
    if index not in place or st.session_state.pop("pick_jump", False):
        index = int(indices[order[0]])
        st.session_state.setdefault(_MEMORY, {})["image"] = index
    if touched("image"):
        publish("image", str(index))
    _gallery_buttons(indices[order], place[index])
    _thumbnails(pixels, indices, order, place[index])
    rank = ranks[index]
    known_label = dataset if teacher.classes == cached.class_names(dataset) else None
    return ChosenImage(pixels[rank], index, int(labels[rank]) if known_label else None, dataset=dataset)


def _jump() -> None:
    st.session_state["pick_jump"] = True


def _show(index: int) -> None:
    put("image", index)


def _gallery_buttons(shown: np.ndarray, position: int) -> None:
    steps = {
        "Previous": shown[position - 1],
        "Next": shown[(position + 1) % len(shown)],
        "Random": random.choice(shown),
    }
    with st.container(horizontal=True):
        for label, index in steps.items():
            st.button(label, key=f"pick_{label}", on_click=_show, args=(int(index),))


def _thumbnails(pixels: np.ndarray, indices: np.ndarray, order: np.ndarray, position: int) -> None:
    first = position // THUMBNAILS * THUMBNAILS
    with st.container(horizontal=True, gap="small"):
        for place, rank in enumerate(order[first : first + THUMBNAILS], start=first):
            index = int(indices[rank])
            with st.container(width=72, gap=None):
                st.image(images.enlarged_png(pixels[rank].transpose(1, 2, 0), 64), width=72)
                kind = "primary" if place == position else "secondary"
                st.button(
                    f"{index}", key=f"pick_thumb_{index}", type=kind, width="stretch", on_click=_show, args=(index,)
                )


def show_image(image: ChosenImage, teacher: Checkpoint, width: int = 256) -> None:
    """Draws what the networks see, enlarged with hard pixels, and says what it is."""
    st.image(images.enlarged_png(image.for_the_eye, width), width=width)
    if image.index is None:
        st.caption("Your photo as the network sees it: 32 × 32 pixels.")
        return
    name = f"**{teacher.classes[image.label]}**" if image.label is not None else "its label is not among these classes"
    st.caption(f"Test image {image.index}: {name}. This is all that the network sees: 32 × 32 pixels.")
