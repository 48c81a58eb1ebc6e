"""The picture that all pages share: a test image, which filters find by the networks' predictions, or a photo."""

import random
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NoReturn

import numpy as np
import streamlit as st
from streamlit.typing import UploadedFile

from kdexplorer.analysis import image_filters
from kdexplorer.app import layout
from kdexplorer.app.layout import as_text
from kdexplorer.app.parts import network_picker
from kdexplorer.app.server import uploads
from kdexplorer.app.server.access import show_error
from kdexplorer.app.server.streamlit_internals import remove_upload
from kdexplorer.app.server.uploads import Photo
from kdexplorer.app.state import cached, choices
from kdexplorer.app.state.cached import Network
from kdexplorer.charts.common import CLASS_LIMIT
from kdexplorer.datasets import get_dataset
from kdexplorer.errors import ImageError
from kdexplorer.images import decode
from kdexplorer.images.picture import Picture, data_url, enlarge_png

TEST_IMAGES, UPLOAD, CAMERA = SOURCES = ("Test images", "Upload a photo", "Camera")
THUMBNAILS, CHOSEN = 10, 6
"""Small pictures of a page, and of chosen examples."""
TYPES = ["png", "jpg", "jpeg", "webp"]
FITS: dict[str, decode.Fit] = {"Center crop": "crop", "Letterbox": "letterbox"}


def first_screen(page: str, sentence: str, needs: str = "") -> tuple[Network, list[Network], Picture, Any]:
    """The header, the choice of networks and the picture; returns them and the place of control and figure.

    See `layout.header` for `page` and `sentence`, and `network_picker.pick_networks` for `needs`.
    """
    layout.header(page, sentence)
    teacher, students = network_picker.pick_networks(needs=needs)
    left, right = layout.first_screen()
    with left:
        image = pick(teacher, students)
    return teacher, students, image, right


def pick(teacher: Network, students: list[Network], alone: bool = False, label: bool = True) -> Picture:
    """Draws the picture and its controls, and with `label` a caption that names it. Without a picture the page ends.

    These networks' predictions choose and filter test images. `alone` it has only the buttons for other test images;
    else thumbnails, too, and behind one button the sources: filters of the test images, an upload and the camera.
    """
    known = range(len(cached.gallery(teacher.dataset)))
    index = read_index(known)
    enlarged, caption = st.empty(), st.empty()
    controls = st.container(horizontal=True, gap="xsmall" if alone else "small", key="picture_controls")
    small, photo_place = st.container(), st.container(gap="xsmall", key="photo_place")
    steps, sources = controls, None
    if not alone:
        steps = controls.container(horizontal=True, gap="xsmall", width="content")
        sources = controls.popover(
            "Source", icon=":material/photo_library:", width="content", key=_SOURCES_OPEN, on_change="rerun"
        )
        with sources:
            source = _pick_unlinked("source", "Source", SOURCES)
            if source == CAMERA:
                st.camera_input("Take a picture", key="photo_camera", on_change=_take, args=("photo_camera",))
            elif source == UPLOAD:  # on a phone the page has no room for it
                _draw_uploader("Drop or paste a photo anywhere on the page, or choose one", "open")
        with photo_place:
            _pick_photo_file()
        with sources if sources.open else photo_place:  # on a phone the open one covers the page
            _say_refused()
    photo = None
    if (kept := find_photo(teacher.dataset)) is not None:
        chosen, photo = kept
        with photo_place:
            _pick_fit(teacher)
        if alone and known:
            with steps:
                draw_steps(known, known[0] if index is None else index)
    else:
        with small:
            chosen = _pick_test_image(teacher, students, known, index, sources, steps)
    show(chosen if label else replace(chosen, label=None, index=None), teacher, enlarged, caption, photo)
    if not label:
        caption.empty()
    return chosen


def _pick_unlinked(name: str, label: str, options: Sequence[str]) -> str:
    """A choice that no link carries: what it is about is in this session alone."""
    return st.segmented_control(
        label, options, default=options[0], key=name, required=True, wrap=True, persist_state="session"
    )


def _pick_test_image(
    teacher: Network, students: list[Network], known: range, index: int | None, sources: Any, buttons: Any
) -> Picture:
    """Draws the gallery; returns the chosen image, which `index` was before. Without an image the page ends.

    The filters are drawn in `sources`, the buttons for the next image in `buttons`. Without `sources` the filters that
    were chosen on a page hold as far as they leave the image, and there is no gallery.
    """
    if not known:
        _end_without_images(teacher.dataset, "" if sources is None else ", or upload a photo")
    shown, changed = _filter_images(teacher, students, sources)
    if index is None:
        index = choose_first(teacher, students, shown)
    elif changed or (index not in shown and sources is not None):
        index = shown[0]
    if index not in shown:
        shown = known
    choices.put("image", index)
    with buttons:
        draw_steps(shown, index)
    if sources is not None:
        first = max(0, min(shown.index(index) - 2, len(shown) - THUMBNAILS))  # a phone, too, shows the chosen one
        with st.container(horizontal=True, gap="xsmall", key="thumbnails"):
            for other in teacher.test_images(shown[first : first + THUMBNAILS]):
                _show_thumbnail(other, other.index == index)
    return teacher.test_images([index])[0]


def say_how_to_get(dataset: str) -> str:
    """What gives a data set's images, as the beginning of a sentence."""
    if (found := get_dataset(dataset)).can_download:
        return f"Download {found.label} on the Launch page"
    return f"Read {as_text(found.label)} again on the Launch page (Customize, Your own images)"


def _end_without_images(dataset: str, else_what: str = "") -> NoReturn:
    st.info(f"There are no images to choose from. {say_how_to_get(dataset)}{else_what}.")
    st.stop()


def read_index(known: Sequence[int]) -> int | None:
    """The number of the chosen test image, where a link or the visitor has chosen one.

    A link's image is shown whatever was chosen before: no photo, and only the filters that the link names.
    """

    def parse(text: str) -> int:
        if not text.isascii() or not text.isdigit() or int(text[:9]) not in known:
            raise ValueError(f"there is no test image '{text[:20]}'")
        st.session_state["source"] = TEST_IMAGES
        for name in {"filter", "class", _FILTERS} - set(st.query_params):
            st.session_state.pop(name, None)
        return int(text[:9])

    index = choices.get("image", parse) if len(known) else None
    return index if index in known else None  # one of another data set


def draw_steps(shown: Sequence[int], index: int) -> None:
    """Draws the buttons for the previous, the next and any other of these test images."""
    position = shown.index(index)
    steps = {
        "Previous": (":material/chevron_left:", shown[position - 1]),
        "Next": (":material/chevron_right:", shown[(position + 1) % len(shown)]),
        "Random": (":material/shuffle:", random.choice(shown)),
    }
    for label, (icon, other) in steps.items():
        st.button(label, key=f"pick_{label}", icon=icon, help=f"{label} image", on_click=_choose_image, args=(other,))


def choose_first(teacher: Network, students: list[Network], shown: Sequence[int]) -> int:
    """The first of the data set's examples that the filters leave.

    Without one the most instructive of the first twenty images, where the filters begin as usual.
    """
    if examples := list_examples(teacher, shown):
        return examples[0]
    labels = cached.gallery(teacher.dataset).labels[:20]
    predictions = image_filters.gather_predictions(teacher, students, teacher.dataset, labels)
    if predictions is None or shown[0] != 0:
        return shown[0]
    best = image_filters.most_instructive(predictions, choices.T, choices.ALPHA)
    return best if best in shown else shown[0]


def list_examples(teacher: Network, known: Sequence[int]) -> list[int]:
    """The data set's chosen examples among these test images, if its classes are the teacher's."""
    described = get_dataset(teacher.dataset)
    return [one for one in described.examples if one in known] if described.classes == teacher.classes else []


def pick_example(teacher: Network, students: list[Network]) -> Picture:
    """Draws the shared picture, chosen examples below, and what takes a photo. Without a picture the page ends."""
    enlarged, caption = st.empty(), st.empty()
    known = range(len(cached.gallery(teacher.dataset)))
    small = st.container(horizontal=True, gap="xsmall", key="thumbnails")
    _pick_photo_file()
    _say_refused()
    index, photo = read_index(known), None
    if (kept := find_photo(teacher.dataset)) is not None:
        index, (chosen, photo) = None, kept
        _pick_fit(teacher)
    elif not known:
        _end_without_images(teacher.dataset)
    else:
        index = choose_first(teacher, students, known) if index is None else index
        choices.put("image", index)
        chosen = teacher.test_images([index])[0]
    with small:
        for other in teacher.test_images((list_examples(teacher, known) or known)[:CHOSEN]):
            _show_thumbnail(other, other.index == index)
    show(chosen, teacher, enlarged, caption, photo)
    return chosen


def find_photo(dataset: str) -> tuple[Picture, Photo] | None:
    """This visit's photo, where it is the chosen source; the margins of a letterbox have the data's mean color.

    None in a lecture's step that sets a test image.
    """
    kept = st.session_state.get("photo")
    is_set = layout.STORY in st.query_params and "image" in st.session_state.get(layout.BEFORE_STEP, {})
    if is_set or kept is None or st.session_state.get("source") not in SOURCES[1:]:
        return None
    fit = st.session_state.get("fit", next(iter(kept)))
    fitted: Photo = kept[fit]
    if FITS[fit] != "crop":
        color = np.multiply(get_dataset(dataset).normalization.mean, 255).round()
        fitted = replace(fitted, pixels=decode.fill_margins(fitted.pixels, color))
    return Picture(fitted.pixels.transpose(2, 0, 1), dataset=dataset), fitted


def _show_thumbnail(image: Picture, chosen: bool) -> None:
    small = data_url(enlarge_png(image.pixels_last, 64))
    st.button(
        f"![Test image {image.index}{', shown' if chosen else ''}]({small})", key=f"pick_thumb_{image.index}",
        type="primary" if chosen else "secondary", on_click=_choose_image, args=(image.index,),
    )  # fmt: skip


def _choose_image(index: int) -> None:
    choices.put("image", index)
    st.session_state["source"] = TEST_IMAGES
    st.session_state.pop(_REFUSED, None)


_REFUSED, _READ, _SOURCES_OPEN = "photo_refused", "photos_read", "picture_source"


def _pick_photo_file() -> None:
    """Draws what takes a photo: a click, or a drop or paste anywhere on the page (`web/shrink_upload.js`)."""
    with st.container(key="photo_input"):
        _draw_uploader("Try your photo", "shown")


def _say_refused() -> None:
    """Why the last file of this page has not become the photo."""
    page, error = st.session_state.get(_REFUSED, ("", None))
    if page != st.session_state.get(choices.PAGE):
        st.session_state.pop(_REFUSED, None)  # of the page before
    elif error:
        show_error(error)


def _draw_uploader(label: str, where: str) -> None:
    """A place for a file; another one after each photo, so that it is empty again."""
    key = f"photo_file_{where}_{st.session_state.get(_READ, 0)}"
    st.file_uploader(label, type=TYPES, key=key, on_change=_take, args=(key,))


def _pick_fit(teacher: Network) -> None:
    """Draws how the photo becomes a square, and what the networks know; the link has no test image."""
    choices.publish("image", None)
    _pick_unlinked("fit", "Fit to a square", list(FITS))
    names = f" ({', '.join(map(as_text, teacher.classes))})" if len(teacher.classes) <= CLASS_LIMIT else ""
    st.caption(
        f"The networks know only {len(teacher.classes)} classes{names} and predict one of them, whatever the photo "
        "shows."
    )


def _take(key: str) -> None:
    """The callback of a new file: it becomes this visit's photo, or all stays as it is and the reason is shown."""
    file = st.session_state.get(key)
    st.session_state.pop(_REFUSED, None)
    if file is None:
        return
    try:
        if not isinstance(file, UploadedFile):  # the server has removed it, see `uploads.limit_uploads`
            raise ImageError("The server had no room for this photo. Choose it again.")
        use_photo(file.getvalue())
    except ImageError as error:
        st.session_state[_REFUSED] = st.session_state.get(choices.PAGE), error
        return
    st.session_state[_SOURCES_OPEN] = False
    st.session_state[_READ] = st.session_state.get(_READ, 0) + 1
    remove_upload(file.file_id)


def use_photo(data: bytes) -> None:
    """Makes this the picture of all pages, as if it had been uploaded. Raises ImageError."""
    photo = uploads.decode_once(data)
    st.session_state["photo"] = {name: photo[fit] for name, fit in FITS.items()}
    st.session_state["source"] = UPLOAD
    choices.publish("image", None)  # so that a link to the last one is a new choice


def show(picture: Picture, teacher: Network, enlarged: Any, below: Any, photo: Photo | None = None) -> None:
    """Draws what the networks see, enlarged with sharp pixel edges, beside the photo itself; a caption below."""
    alt, caption = "Your photo" if photo else "The picture", "Your photo, and as the networks see it: 32 × 32 pixels"
    fact = "a photo" if photo else "a picture"
    if picture.index is not None:
        alt, fact = picture.caption(teacher.classes), f"{get_dataset(picture.dataset).label} test image {picture.index}"
        name = None if picture.label is None else as_text(teacher.classes[picture.label])
        label = f"**{name}**" if name else "its label is not one of these classes"
        caption = f"Test image {picture.index}: {label}, 32 × 32 pixels"
    layout.mention(image=fact)
    sharp = data_url(enlarge_png(picture.pixels_last, 448))
    if photo is None:
        enlarged.image(sharp, width="stretch", alt=alt)
    else:
        with enlarged.container(horizontal=True, wrap=False, gap="xsmall", key="photo_pair"):
            st.image(data_url(photo.large, "jpeg"), width="stretch", alt="Your photo before it was reduced")
            st.image(sharp, width="stretch", alt=alt)
    below.caption(caption)


ANY_CLASS = "Any class"
_FILTERS = "filters_shown"


def _filter_images(teacher: Network, students: list[Network], place: Any) -> tuple[Sequence[int], bool]:
    """The numbers of the test images that the filters leave, in order, and whether the filters have changed.

    The filters are drawn in `place`, and without an image the page ends there. Without a place those hold that were
    chosen on a page, where they leave any image.
    """
    dataset = teacher.dataset
    labels = cached.gallery(dataset).labels
    is_open = place is not None and place.open
    if not is_open and not any(map(choices.is_chosen, ("filter", "class"))):
        return range(len(labels)), False
    predictions = image_filters.gather_predictions(teacher, students, dataset, labels)
    if predictions is None:
        return range(len(labels)), False
    left, right = (layout.unseen("filters") if place is None else place).columns(2)
    filters, classes = image_filters.available_filters(predictions), [ANY_CLASS, *teacher.classes]
    with left:
        name = choices.pick_one("filter", "Show", filters, filters[0], kind="filter")
    with right:
        chosen = choices.pick_one("class", "Class", classes, ANY_CLASS, kind="class")
    label = None if chosen == ANY_CLASS else teacher.classes.index(chosen)
    order = image_filters.filter_images(name, predictions, label).tolist()
    if place is None:
        return order or range(len(labels)), False
    part = ""
    if not get_dataset(dataset).is_available():
        part = f" These are the first of the test split; download {get_dataset(dataset).label} on Launch to see all."
    place.caption(f"{len(order):,} of {len(labels):,} images: {image_filters.FILTERS[name].description}.{part}")
    if not order:
        (place if is_open else st).info("No image passes this filter. Choose another filter or class.")
        st.stop()
    before, st.session_state[_FILTERS] = st.session_state.get(_FILTERS, (name, chosen)), (name, chosen)
    return order, before != (name, chosen)
