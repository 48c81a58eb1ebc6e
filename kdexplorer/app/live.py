"""Live: teacher and students run in the visitor's own browser, on a picture or on the camera.

Weights are served at a URL that contains their hash, so a browser fetches each network once. The only thing that comes
back is the picture of "Use this picture": a PNG of 32 × 32 pixels, checked like any upload.
"""

import base64

import streamlit as st

from kdexplorer import web
from kdexplorer.app import layout
from kdexplorer.app.layout import as_text
from kdexplorer.app.parts import network_picker, picture
from kdexplorer.app.server.streamlit_internals import add_media
from kdexplorer.app.state import choices
from kdexplorer.app.state.cached import Network, gallery
from kdexplorer.charts.style import role_of
from kdexplorer.errors import ImageError
from kdexplorer.networks import all_architectures

PREFIX = "data:image/png;base64,"

_KEY = "live_view"
_view = st.components.v2.component(
    "kdexplorer_live", js=web.build_script() + web.read("component.js"), css=web.read("live.css")
)


def show() -> None:
    """The view, and a message with links once its picture is that of the other pages.

    It starts with this visit's photo, else the first of the chosen examples, else the most instructive test image.

    A student that cannot be used is reported and left out; without the teacher the page ends. Raises ImageError for
    what is not a picture of this view.
    """
    layout.header(
        "live",
        "Teacher and students classify what you hold up to the camera, **in your browser**. No picture leaves your "
        "device unless you press **Use this picture**.",
    )
    teacher, students = network_picker.pick_networks()
    if not web.runs_in_browser(teacher):
        small = [architecture.key for architecture in all_architectures() if architecture.runs_in_browser]
        st.info(
            f"{as_text(teacher.name)} ({teacher.architecture}) does not run in the browser. Choose a teacher among "
            f"{', '.join(small)}."
        )
        st.stop()
    fitting = web.select_networks({one.key: one for one in [teacher, *students]})
    if left_out := [student.name for student in students if student.key not in fitting]:
        st.caption(
            f"Not shown: {as_text(', '.join(left_out))}. The view runs up to {web.MAX_STUDENTS} students, "
            "small networks only."
        )

    message = st.container()
    shown = [teacher, *(student for student in students if student.key in fitting)]
    found, networks = network_picker.ask_each(shown, lambda one: one.export()), []
    for number, (network, exported) in enumerate(found):
        path = add_media(exported.weights, "application/octet-stream", f"kdexplorer_live_{number}")
        url = path and layout.with_base(path)
        networks.append(web.describe_network(network.name, role_of(network, teacher), exported, url))
    sample = _find_sample(teacher, [network for network, _ in found[1:]])
    settings = web.build_settings(networks, choices.pinned("T"), sample)
    result = _view(data=settings, key=_KEY, on_picture_change=lambda: None, on_temperature_change=_keep_temperature)
    if result.picture is not None:  # which the visitor has just chosen to use on the other pages
        picture.use_photo(_decode(result.picture))
        with message.container(horizontal=True, vertical_alignment="center"):
            st.success("The other pages now show this picture.", width=420)
            layout.link_to("soft_labels", "Its soft labels")
            layout.link_to("attention", "Its attention maps")


def _find_sample(teacher: Network, students: list[Network]) -> tuple[str, str] | None:
    """This visit's photo, else a test image: its data URL and what it is."""
    if (photo := picture.find_photo(teacher.dataset)) is not None:
        return photo[0].data_url, "This is your photo"
    if not len(known := range(len(gallery(teacher.dataset)))):
        return None
    (sample,) = teacher.test_images([picture.choose_first(teacher, students, known)])
    return sample.data_url, f"This is a sample ({sample.caption(teacher.classes)})"


def _keep_temperature() -> None:
    choices.pin("T", st.session_state[_KEY].get("temperature"))


def _decode(picture: object) -> bytes:
    """The bytes of a data URL as the view makes it. Raises ImageError."""
    try:
        return base64.b64decode(str(picture).removeprefix(PREFIX), validate=True)
    except ValueError as error:
        raise ImageError("This is not a picture from the live view.") from error
