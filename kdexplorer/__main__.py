"""`python -m kdexplorer`, and the command `kdexplorer`: names the plugins, then runs the command line."""

import sys
from collections.abc import Sequence

from kdexplorer.plugins import name_plugins
from kdexplorer.processes import limit_thread_spinning


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command and returns its exit code."""
    limit_thread_spinning()
    name_plugins(sys.argv[1:] if arguments is None else arguments)
    from kdexplorer.cli.main import main as run  # reads the registries

    return run(arguments)


if __name__ == "__main__":
    raise SystemExit(main())
