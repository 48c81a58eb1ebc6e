"""`data`: downloads data sets, says which are available, and shows or deletes stored teacher predictions."""

from __future__ import annotations

import argparse

from kdexplorer.cli.options import DONE, FAILED, add_command, progress_bar
from kdexplorer.datasets import all_datasets, data_root, get_dataset
from kdexplorer.runs import array_store

HELP = "download data sets, check which are available, delete stored teacher predictions"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The subcommands."""
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    add_command(commands, "info", "load every data set and print where it is", subcommand=_info)
    download = add_command(commands, "download", "download the official archive and verify it", subcommand=_download)
    stored = add_command(
        commands, "predictions", "print the size of the stored teacher predictions", subcommand=_predictions
    )
    stored.add_argument("--delete", action="store_true", help="delete them; runs compute them again when needed")
    keys = [dataset.key for dataset in all_datasets() if dataset.can_download]
    download.add_argument("dataset", nargs="?", choices=keys, default=keys[0], help=f"default: {keys[0]}")


def run(options: argparse.Namespace) -> int:
    """Runs the subcommand."""
    return options.subcommand(options)


def _info(_: argparse.Namespace) -> int:
    code = DONE
    for dataset in all_datasets():
        source = dataset.find()
        if source is None:
            hint = f": python -m kdexplorer data download {dataset.key}" if dataset.can_download else ""
            print(f"{dataset.label} is missing from {data_root()}{hint}")
            code = FAILED
            continue
        print(f"{dataset.label} ({dataset.key}): {source}")
        for split in dataset.sizes:
            with progress_bar(f"loading {split}") as progress:
                loaded = dataset.load(split, progress=progress)
            print(f"  {split:<5} {len(loaded):>6} images {loaded.images.shape[1:]} {loaded.images.dtype}")
    return code


def _download(options: argparse.Namespace) -> int:
    dataset = get_dataset(options.dataset)
    print(f"{dataset.label} is in {dataset.download()}")
    return DONE


def _predictions(options: argparse.Namespace) -> int:
    print(array_store.describe_store())
    if options.delete:
        array_store.delete_store()
        print("Deleted.")
    return DONE
