"""The picture that every page shows: a test image from the gallery, an upload, or the camera's. Chosen, kept, shown."""

from __future__ import annotations

import random
from dataclasses import dataclass

import numpy as np
import streamlit as st
from streamlit.runtime.scriptrunner import get_script_run_ctx

from kdexplorer import gallery, images
from kdexplorer.checkpoints import Checkpoint
from kdexplorer.errors import ImageError
from kdexplorer.handout.sources import Picture
from kdexplorer.ui import cached, choice

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


def pick(teacher: Checkpoint, students: list[Checkpoint]) -> ChosenImage:
    """Draws the choice of an image: gallery with filters, upload, camera. Ends the page while there is none."""
    source = choice.get("source", SOURCES[0], lambda text: SOURCES[0])
    st.session_state["pick_source"] = source
    st.segmented_control(
        "Where the image comes from", SOURCES, key="pick_source", required=True, on_change=_remember_source, wrap=True
    )
    if source != SOURCES[0]:
        return _pick_photo(source, cached.dataset_of(teacher))
    return _pick_from_gallery(teacher, students)


def _remember_source() -> None:
    memory = choice.memory()
    memory["source"] = st.session_state["pick_source"] or SOURCES[0]


def _pick_photo(source: str, dataset: str) -> ChosenImage:
    memory = choice.memory()
    if source == SOURCES[1]:
        file = st.file_uploader(
            "PNG, JPEG or WebP, at most 5 MB", type=["png", "jpg", "jpeg", "webp"], key="photo_file"
        )
    else:
        file = st.camera_input("Take a picture", key="photo_camera")
    st.session_state["pick_fit"] = memory.get("fit", "crop")
    st.segmented_control(
        "To make it square",
        list(FITS),
        format_func=FITS.get,
        key="pick_fit",
        required=True,
        on_change=_remember_fit,
        wrap=True,
    )
    if file is not None:
        try:
            _take_photo(file.getvalue())
        except ImageError as error:
            memory.pop("photo", None)
            st.error(str(error))
        else:
            _forget(file.file_id)
    if "photo" not in memory:
        st.info("No photo yet: choose one above, or go back to the test images.")
        st.stop()
    st.warning(
        "These networks know ten classes and see 32 × 32 pixels. They must answer with one of the ten, "
        "whatever the photo shows."
    )
    return ChosenImage(memory["photo"][memory.get("fit", "crop")].transpose(2, 0, 1), dataset=dataset)


def _take_photo(data: bytes) -> None:
    photo = {fit: images.decode_image(data, fit) for fit in FITS}
    choice.memory()["photo"] = photo


def _forget(file_id: str) -> None:
    """Lets an upload go whose pixels were taken: Streamlit (1.67) would keep every one until the visitor has left.

    The widget then says that there is no file, so that it is not decoded again at every run of the page either.
    """
    context = get_script_run_ctx()
    if context is not None:
        context.uploaded_file_mgr.remove_file(context.session_id, file_id)


def use_photo(data: bytes) -> None:
    """Makes a picture the one that every page shows, as if it had been uploaded. Raises ImageError."""
    _take_photo(data)
    choice.memory()["source"] = SOURCES[1]


def _remember_fit() -> None:
    choice.memory()["fit"] = st.session_state["pick_fit"] or "crop"


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

    index = choice.get("image", None, known)
    answers = cached.gallery_answers(teacher, students, dataset, indices, labels)
    order = np.arange(len(labels))
    if answers is not None:
        left, right = st.columns(2)
        with left:
            chosen = _pick_kept("Show", gallery.available(answers), "filter")
        with right:
            classes = ["Any class", *teacher.classes]
            wanted = _pick_kept("Class", classes, "class")
        order = gallery.positions(chosen, answers, classes.index(wanted) - 1 if wanted != classes[0] else None)
        samples = "" if len(labels) > len(images.sample_images()[1]) else " These are samples: get CIFAR-10 on Launch."
        st.caption(f"{len(order):,} of {len(labels):,} images: {gallery.EXPLAINED[chosen]}.{samples}")
        if not len(order):
            st.info("No image passes this filter. Choose another filter or class.")
            st.stop()
    place = {int(indices[rank]): position for position, rank in enumerate(order)}
    if index not in place or st.session_state.pop("pick_jump", False):
        index = int(indices[order[0]])
        choice.memory()["image"] = index
    if choice.touched("image"):
        choice.publish("image", str(index))
    _gallery_buttons(indices[order], place[index])
    _thumbnails(pixels, indices, order, place[index])
    rank = ranks[index]
    known_label = dataset if teacher.classes == cached.class_names(dataset) else None
    return ChosenImage(pixels[rank], index, int(labels[rank]) if known_label else None, dataset=dataset)


def _pick_kept(label: str, options: list[str], name: str) -> str:
    """A choice that narrows the gallery, the same on every page."""
    kept, key = choice.memory().get(name), f"pick_{name}"
    st.session_state[key] = kept if kept in options else options[0]
    return st.selectbox(label, options, key=key, on_change=_jump, args=(name, key))


def _jump(name: str, key: str) -> None:
    choice.keep(name, key)
    st.session_state["pick_jump"] = True


def _put(index: int) -> None:
    choice.put("image", index)


def _gallery_buttons(shown: np.ndarray, position: int) -> None:
    steps = {
        "Previous": shown[position - 1],
        "Next": shown[(position + 1) % len(shown)],
        "Random": random.choice(shown),
    }
    with st.container(horizontal=True):
        for label, index in steps.items():
            st.button(label, key=f"pick_{label}", on_click=_put, args=(int(index),))


def _thumbnails(pixels: np.ndarray, indices: np.ndarray, order: np.ndarray, position: int) -> None:
    first = position // THUMBNAILS * THUMBNAILS
    with st.container(horizontal=True, gap="small"):
        for place, rank in enumerate(order[first : first + THUMBNAILS], start=first):
            index = int(indices[rank])
            with st.container(width=72, gap=None):
                st.image(images.enlarged_png(pixels[rank].transpose(1, 2, 0), 64), width=72, alt=f"Test image {index}")
                kind = "primary" if place == position else "secondary"
                st.button(
                    f"{index}", key=f"pick_thumb_{index}", type=kind, width="stretch", on_click=_put, args=(index,)
                )


def show(image: ChosenImage, teacher: Checkpoint, width: int = 256) -> None:
    """Draws what the networks see, enlarged with hard pixels, and says what it is."""
    name = teacher.classes[image.label] if image.label is not None else None
    alt, words = "Your photo", "Your photo as the network sees it: 32 × 32 pixels."
    if image.index is not None:
        alt = f"Test image {image.index}" + (f": {name}" if name else "")
        told = f"**{name}**" if name else "its label is not among these classes"
        words = f"Test image {image.index}: {told}. This is all that the network sees: 32 × 32 pixels."
    st.image(images.enlarged_png(image.for_the_eye, width), width=width, alt=alt)
    st.caption(words)
