"""`python -m kdexplorer` runs the command line."""

from kdexplorer.cli.main import main
from kdexplorer.processes import limit_thread_spinning

if __name__ == "__main__":
    limit_thread_spinning()
    raise SystemExit(main())
