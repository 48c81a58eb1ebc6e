"""`data`: downloads data sets, says which are available, and shows or deletes stored teacher predictions."""

from __future__ import annotations

import argparse
import sys

from kdexplorer.cli.options import DONE, FAILED, argument, command, flag, prepare_data, progress_bar
from kdexplorer.datasets import all_datasets, data_root, dataset_choices, get_dataset
from kdexplorer.errors import DataError
from kdexplorer.runs import array_store

KEYS = [dataset.key for dataset in all_datasets() if dataset.can_download]


@command("data info", argument("datasets", nargs="*", metavar="DATASET", help=f"{dataset_choices()} (default: all)"))
def describe_data(options: argparse.Namespace) -> int:
    """Load data sets and print where they are; a folder of images is read where it has changed."""
    code = DONE
    for key in options.datasets or [dataset.key for dataset in all_datasets()]:
        try:
            prepare_data(options, key)
            dataset = get_dataset(key)
            if (source := dataset.find()) is None:
                hint = f": python -m kdexplorer data download {dataset.key}" if dataset.can_download else ""
                print(f"{dataset.label} is missing from {data_root()}{hint}")
                code = FAILED if options.datasets or dataset.substitute else code
                continue
            print(f"{dataset.label} ({dataset.key}): {source}")
            if options.datasets:
                print(f"  sha256 {dataset.fingerprint()}")
            for split in dataset.sizes:
                with progress_bar(f"loading {split}") as progress:
                    loaded = dataset.load(split, progress=progress)
                print(f"  {split:<5} {len(loaded):>6} images {loaded.images.shape[1:]} {loaded.images.dtype}")
        except DataError as error:
            print(f"error: {error}", file=sys.stderr)
            code = FAILED
    return code


@command("data download", argument("dataset", nargs="?", choices=KEYS, default=KEYS[0], help=f"default: {KEYS[0]}"))
def download(options: argparse.Namespace) -> None:
    """Download the official archive and verify it."""
    dataset = get_dataset(options.dataset)
    print(f"{dataset.label} is in {dataset.download()}")


@command("data predictions", flag("--delete", "delete them; they are computed again when needed"))
def describe_predictions(options: argparse.Namespace) -> None:
    """Print the size of the stored teacher predictions and attention similarities."""
    print(array_store.describe_store())
    if options.delete:
        array_store.delete_store()
        print("Deleted.")
