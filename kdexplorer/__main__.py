"""`python -m kdexplorer`, and the command `kdexplorer`: names the plugins, then runs the command line."""

import io
import sys
from collections.abc import Sequence

from kdexplorer.plugins import name_plugins
from kdexplorer.processes import limit_thread_spinning


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command and returns its exit code."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # where the terminal's encoding has no α
    try:
        limit_thread_spinning()
        name_plugins(sys.argv[1:] if arguments is None else arguments)
        from kdexplorer.cli.main import main as run  # reads the registries

        return run(arguments)
    except KeyboardInterrupt:  # while all this is imported
        return 130


if __name__ == "__main__":
    raise SystemExit(main())
