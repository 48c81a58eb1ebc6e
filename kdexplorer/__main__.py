"""`python -m kdexplorer` is the command line of `kdexplorer.cli`."""

from kdexplorer.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
