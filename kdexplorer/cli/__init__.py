"""The command line: `python -m kdexplorer COMMAND`."""
