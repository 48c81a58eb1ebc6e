"""`handout`: writes one HTML file with networks' predictions."""

from __future__ import annotations

import argparse
from pathlib import Path

from kdexplorer.cli.options import CHECKPOINT_HELP, DONE
from kdexplorer.errors import ConfigError

HELP = "write one HTML file with networks' predictions, interactive without a server"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The networks, the images and where the sliders start."""
    networks, add = f"the teacher, then its students: {CHECKPOINT_HELP}", parser.add_argument
    add("--networks", nargs="+", required=True, metavar="CHECKPOINT", help=networks)
    add("--images", type=int, default=12, metavar="INT", help="number of images (default: 12)")
    add("--test-images", nargs="+", type=int, default=[], metavar="INDEX", help="test images that come first")
    add("--photos", nargs="+", type=Path, default=[], metavar="FILE", help="your own images, before all others")
    add("--temperature", type=float, default=4.0, help="start of the slider for T (default: 4)")
    add("--alpha", type=float, help="start of the slider for α (default: what each student was trained with)")
    add("--live", action="store_true", help="embed the networks, so that readers can classify their own images")
    add("--experiments", action="store_true", help="add the verdicts of the prepared experiments that are measured")
    add("--votes", action="store_true", help="add the totals of the audience's vote on closed questions")
    add("--story", type=Path, metavar="FILE", help="a lecture whose steps order the sections (default: bundled)")
    add("-o", "--output", type=Path, default=Path("handout.html"), help="default: handout.html")
    add("--force", action="store_true", help="overwrite the file if it exists")


def run(options: argparse.Namespace) -> int:
    """Writes the file. Raises KDError, and OSError where a file cannot be read or written."""
    from kdexplorer.files import write_bytes
    from kdexplorer.handout.page import build
    from kdexplorer.handout.request import make_request, open_sources
    from kdexplorer.story.lecture import read_lecture
    from kdexplorer.vote.store import open_store

    if options.output.exists() and not options.force:
        raise ConfigError(f"{options.output} already exists: pass --force to overwrite it, or another name with -o.")

    votes = open_store().closed() if options.votes else ()
    if options.votes and not votes:
        raise ConfigError("there is no closed question: --votes needs the totals of one.")
    order = read_lecture(options.story).sections() if options.story else ()
    sources = open_sources()
    request = make_request(
        options.networks, options.images, sources, options.test_images, options.photos,
        temperature=options.temperature, alpha=options.alpha, live=options.live, experiments=options.experiments,
        votes=tuple(votes), order=tuple(order),
    )  # fmt: skip
    text = build(request, sources).encode()
    write_bytes(options.output, text)
    print(f"{options.output}: {len(text) / 1e6:.2f} MB, {len(request.pictures)} images; open it in a browser")
    return DONE
