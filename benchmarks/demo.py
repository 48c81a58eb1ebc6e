"""How often the distilled student of the one-minute demo beats its scratch baseline: several seeds on real CIFAR-10.

    KDEXPLORER_DATA=... python -m benchmarks.demo --seeds 0 1 2 3 4 5 6 7 8 9

Prints for each seed both accuracies on the 10,000 test images (last epoch) and the seconds, then in how many seeds the
distilled student is ahead.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from pathlib import Path

from kdexplorer.config import ExperimentConfig
from kdexplorer.presets import STARTING_POINTS
from kdexplorer.runs.checkpoints import run_checkpoints
from kdexplorer.runs.launch import create_run
from kdexplorer.training.execute import execute


def train_demo(seed: int, threads: int | None, root: Path) -> tuple[float, float, float]:
    """Accuracy of the scratch baseline and of the distilled student (0 to 1), and seconds."""
    values = STARTING_POINTS["One-minute demo"] | {"seed": seed, "threads": threads}
    run = create_run(ExperimentConfig(**values), values["name"], root)
    if execute(run) != "finished":
        raise KeyboardInterrupt
    baseline, distilled = (checkpoint.card for checkpoint in run_checkpoints(run))
    return baseline.test_accuracy, distilled.test_accuracy, baseline.legs[-1].seconds


def main() -> None:
    """Parses the command line and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=list(range(10)))
    parser.add_argument("--threads", type=int, help="processor threads (default: torch's choice)")
    options = parser.parse_args()
    gains, times = [], []
    for seed in options.seeds:
        with tempfile.TemporaryDirectory() as folder:
            baseline, distilled, seconds = train_demo(seed, options.threads, Path(folder))
        gains.append(distilled - baseline)
        times.append(seconds)
        print(
            f"seed {seed}: scratch baseline {100 * baseline:.2f} %, distilled {100 * distilled:.2f} %, "
            f"difference {100 * gains[-1]:+.2f}, {seconds:.0f} s",
            flush=True,
        )
    low, middle, high = (100 * value for value in (min(gains), statistics.median(gains), max(gains)))
    print(f"distilled ahead in {sum(gain > 0 for gain in gains)} of {len(gains)} seeds")
    print(f"difference in points: median {middle:+.2f}, {low:+.2f} to {high:+.2f}")
    print(f"seconds: median {statistics.median(times):.0f}")


if __name__ == "__main__":
    main()
