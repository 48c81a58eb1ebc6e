"""`story`: checks a lecture's file and lists its steps."""

from __future__ import annotations

import argparse
from pathlib import Path

from kdexplorer.cli.options import DONE

HELP = "check a lecture's file and list its steps, or list the figures that steps can show"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The file."""
    text = "a TOML file (default: the bundled lecture)"
    parser.add_argument("file", nargs="?", type=Path, metavar="FILE", help=text)
    parser.add_argument("--figures", action="store_true", help="list the figures instead")


def run(options: argparse.Namespace) -> int:
    """Prints one line for each step or figure. Raises ConfigError for a file that is no lecture."""
    from kdexplorer.figures import all_figures
    from kdexplorer.story.lecture import DEFAULT, read_lecture

    if options.figures:
        for name, figure in all_figures().items():
            print(f"{name:22}{figure.title}; control: {figure.moves}")
        return DONE
    lecture = read_lecture(options.file or DEFAULT)
    print(f"{lecture.title}: {len(lecture.steps)} steps")
    for number, step in enumerate(lecture.steps, start=1):
        print(f"{number:>3}  {step.figure:22}{step.title}: {step.sentence}")
    return DONE
