"""The picture that all pages share: a test image from the gallery, an upload, or a camera image."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import streamlit as st
from streamlit.runtime.scriptrunner import get_script_run_ctx

from kdexplorer.analysis.results import dataset_of
from kdexplorer.app import gallery, url_state
from kdexplorer.datasets import get_dataset
from kdexplorer.errors import ImageError
from kdexplorer.handout.sources import Picture
from kdexplorer.images import decode, render
from kdexplorer.runs.checkpoints import Checkpoint

TEST_IMAGES, UPLOAD, CAMERA = SOURCES = ("Test images", "Upload a photo", "Camera")
FITS: dict[decode.Fit, str] = {"crop": "Center crop", "letterbox": "Letterbox"}


@dataclass(frozen=True)
class ChosenPicture(Picture):
    """The picture that all pages show, and the data set whose test image it is."""

    dataset: str = ""

    @property
    def pixels_last(self) -> np.ndarray:
        """uint8 `[32, 32, 3]`, for display."""
        return self.pixels.transpose(1, 2, 0)


def pick(teacher: Checkpoint, students: list[Checkpoint]) -> ChosenPicture:
    """Draws the choice of a picture: gallery, upload or camera. Without a picture the page ends."""
    source = url_state.choices().get("source", TEST_IMAGES)
    st.session_state["pick_source"] = source
    st.segmented_control(
        "Source",
        SOURCES,
        key="pick_source",
        required=True,
        on_change=url_state.keep,
        args=("source", "pick_source"),
        wrap=True,
    )
    dataset = dataset_of(teacher)
    if source != TEST_IMAGES:
        return _pick_photo(source, teacher, dataset)
    pixels, index, label = gallery.pick(teacher, students, dataset)
    known = teacher.classes == get_dataset(dataset).classes
    return ChosenPicture(pixels, index, label if known else None, dataset=dataset)


def _pick_photo(source: str, teacher: Checkpoint, dataset: str) -> ChosenPicture:
    choices = url_state.choices()
    if source == UPLOAD:
        file = st.file_uploader(
            "PNG, JPEG or WebP, at most 5 MB", type=["png", "jpg", "jpeg", "webp"], key="photo_file"
        )
    else:
        file = st.camera_input("Take a picture", key="photo_camera")
    st.session_state["pick_fit"] = choices.get("fit", "crop")
    st.segmented_control(
        "Fit to a square",
        list(FITS),
        format_func=FITS.__getitem__,
        key="pick_fit",
        required=True,
        on_change=url_state.keep,
        args=("fit", "pick_fit"),
        wrap=True,
    )
    if file is not None:
        try:
            _decode(file.getvalue())
        except ImageError as error:
            choices.pop("photo", None)
            st.error(str(error))
        else:
            _remove_upload(file.file_id)
    if "photo" not in choices:
        st.info("No photo yet. Choose one above, or return to the test images.")
        st.stop()
    st.warning(
        f"These networks know {len(teacher.classes)} classes and see 32 × 32 pixels. They must choose one of these "
        "classes, whatever the photo shows."
    )
    return ChosenPicture(choices["photo"][choices.get("fit", "crop")].transpose(2, 0, 1), dataset=dataset)


def _decode(data: bytes) -> None:
    url_state.choices()["photo"] = {fit: decode.decode_image(data, fit) for fit in FITS}


def _remove_upload(file_id: str) -> None:
    """Frees an upload whose pixels were read: Streamlit (1.67) would keep each one until the visitor has left.

    The widget then has no file, so it is not decoded again at every run of the page either.
    """
    context = get_script_run_ctx()
    if context is not None:
        context.uploaded_file_mgr.remove_file(context.session_id, file_id)  # type: ignore[attr-defined]


def use_photo(data: bytes) -> None:
    """Makes this the picture of all pages, as if it had been uploaded. Raises ImageError."""
    _decode(data)
    url_state.choices()["source"] = UPLOAD


def show(picture: ChosenPicture, teacher: Checkpoint, width: int = 256) -> None:
    """Draws what the networks see, enlarged with sharp pixel edges, with a caption."""
    alt, caption = "Your photo", "Your photo as the networks see it: 32 × 32 pixels."
    if picture.index is not None:
        name = teacher.classes[picture.label] if picture.label is not None else None
        alt = f"Test image {picture.index}" + (f": {name}" if name else "")
        label = f"**{name}**" if name else "its label is not one of these classes"
        caption = f"Test image {picture.index}: {label}. The networks see 32 × 32 pixels."
    st.image(render.enlarge_png(picture.pixels_last, width), width=width, alt=alt)
    st.caption(caption)
