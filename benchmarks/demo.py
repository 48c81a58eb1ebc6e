"""Does the one-minute demo show what it promises? Runs it over several seeds on real CIFAR-10.

    KDEXPLORER_DATA=... python -m benchmarks.demo --seeds 0 1 2 3 4 5 6 7 8 9

Prints a line per seed (accuracy from scratch and distilled on the 10,000 test images, last epoch, seconds) and in how
many seeds the distilled student ended ahead.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from pathlib import Path

from kdexplorer import checkpoints, runs, train
from kdexplorer.config import ExperimentConfig
from kdexplorer.draft import ONE_MINUTE_DEMO


def once(seed: int, threads: int | None, root: Path) -> tuple[float, float, float]:
    """Accuracy from scratch, accuracy distilled (0 to 1), and seconds."""
    run = runs.create(ExperimentConfig(**ONE_MINUTE_DEMO | {"seed": seed, "threads": threads}), root)
    train.execute(run)
    scratch, distilled = (checkpoints.open_checkpoint(path).card for path in runs.students(run))
    return scratch["test_accuracy"], distilled["test_accuracy"], scratch["seconds"]


def main() -> None:
    """Parses the command line and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=list(range(10)))
    parser.add_argument("--threads", type=int, help="processor threads (default: torch's choice)")
    options = parser.parse_args()
    gains, times = [], []
    for seed in options.seeds:
        with tempfile.TemporaryDirectory() as folder:
            scratch, distilled, seconds = once(seed, options.threads, Path(folder))
        gains.append(distilled - scratch)
        times.append(seconds)
        print(
            f"seed {seed}: from scratch {100 * scratch:.2f} %, distilled {100 * distilled:.2f} %, "
            f"difference {100 * gains[-1]:+.2f}, {seconds:.0f} s",
            flush=True,
        )
    low, middle, high = (100 * value for value in (min(gains), statistics.median(gains), max(gains)))
    print(f"distilled ahead in {sum(gain > 0 for gain in gains)} of {len(gains)} seeds")
    print(f"difference in points: median {middle:+.2f}, {low:+.2f} to {high:+.2f}")
    print(f"seconds: median {statistics.median(times):.0f}")


if __name__ == "__main__":
    main()
