"""What a lecture uses: `app`, `handout` and `story`."""

from __future__ import annotations

import argparse
import socket
import subprocess
import sys
from pathlib import Path

from kdexplorer.cli.options import CHECKPOINT_HELP, DONE, FAILED, STOPPED, argument, command, flag
from kdexplorer.errors import ConfigError
from kdexplorer.files import bundled, check_place, write_bytes
from kdexplorer.processes import stop_signals


@command(
    "app",
    argument("--port", type=int, default=8501, metavar="INT", help="default: 8501"),
    argument("--address", default="localhost", help="where it listens (default: localhost; elsewhere set a token)"),
    argument("--story", metavar="FILE", help="a lecture of your own"),
    argument("options", nargs="*", metavar="OPTION", help="after --: more options of 'streamlit run'"),
)  # fmt: skip
def start_application(options: argparse.Namespace) -> int:
    """Start the application; Ctrl-C ends it."""
    if not 0 <= options.port <= 65535:
        raise ConfigError(f"--port: should be 0 to 65535, not {options.port}.")
    try:
        socket.getaddrinfo(options.address, options.port)
    except (OSError, UnicodeError) as error:  # a label of a host's name is empty or too long
        raise ConfigError(f"--address: {options.address[:60]}: {getattr(error, 'strerror', error)}.") from error
    if options.story:
        from kdexplorer.story import read_lecture

        read_lecture(Path(options.story))  # refused before the server starts
    server = [f"--server.port={options.port}", f"--server.address={options.address}", *options.options]
    story = ["--", "--story", options.story] if options.story else []
    file = str(bundled("streamlit_app.py"))
    process = subprocess.Popen([sys.executable, "-m", "streamlit", "run", file, *server, *story])
    with stop_signals() as stopping:
        while process.poll() is None:
            if stopping.wait(0.2):
                process.terminate()
                process.wait()
                return STOPPED
    return DONE if process.returncode == 0 else FAILED


@command(
    "handout",
    argument(
        "--networks", nargs="+", required=True, metavar="CHECKPOINT",
        help=f"the teacher, then its students: {CHECKPOINT_HELP}",
    ),
    argument("--images", type=int, default=12, metavar="INT", help="number of images (default: 12)"),
    argument("--test-images", nargs="+", type=int, default=[], metavar="INDEX", help="test images that come first"),
    argument("--photos", nargs="+", type=Path, default=[], metavar="FILE", help="your own images, before all others"),
    argument("--temperature", type=float, default=4.0, help="start of the slider for T (default: 4)"),
    argument("--alpha", type=float, help="start of the slider for α (default: what each student was trained with)"),
    flag("--live", "embed the networks, so that readers can classify their own images"),
    flag("--experiments", "add the verdicts of the prepared experiments that are measured"),
    flag("--votes", "add the totals of the audience's vote on closed questions"),
    argument("--story", type=Path, metavar="FILE", help="a lecture whose steps order the sections (default: bundled)"),
    argument("-o", "--output", type=Path, default=Path("handout.html"), help="default: handout.html"),
    flag("--force", "overwrite the file if it exists"),
)  # fmt: skip
def write_handout(options: argparse.Namespace) -> None:
    """Write one HTML file with networks' predictions, interactive without a server."""
    from kdexplorer.handout.page import build
    from kdexplorer.handout.request import make_request
    from kdexplorer.story import read_lecture
    from kdexplorer.vote.store import open_store

    if options.output.is_file() and not options.force:
        raise ConfigError(f"{options.output} already exists: pass --force to overwrite it, or another name with -o.")
    check_place(options.output)
    votes = open_store().closed() if options.votes else ()
    if options.votes and not votes:
        raise ConfigError("there is no closed question: --votes needs the totals of one.")
    order = read_lecture(options.story).sections() if options.story else ()
    request = make_request(
        options.networks, options.images, options.test_images, options.photos,
        temperature=options.temperature, alpha=options.alpha, live=options.live, experiments=options.experiments,
        votes=tuple(votes), order=tuple(order), story=options.story,
    )  # fmt: skip
    text = build(request).encode()
    write_bytes(options.output, text)
    print(f"{options.output}: {len(text) / 1e6:.2f} MB, {len(request.pictures)} images; open it in a browser")


@command(
    "story",
    argument("file", nargs="?", type=Path, metavar="FILE", help="a TOML file (default: the bundled lecture)"),
    flag("--figures", "list the figures instead"),
)
def check_story(options: argparse.Namespace) -> None:
    """Check a lecture's file and list its steps, or list the figures that steps can show."""
    from kdexplorer.figures import all_figures
    from kdexplorer.story import DEFAULT, read_lecture

    if options.figures:
        for name, figure in all_figures().items():
            print(f"{name:22}{figure.title}; control: {figure.moves}")
        return
    lecture = read_lecture(options.file or DEFAULT)
    print(f"{lecture.title}: {len(lecture.steps)} steps")
    for number, step in enumerate(lecture.steps, start=1):
        print(f"{number:>3}  {step.figure or 'points':22}{step.title}: {step.sentence}")
