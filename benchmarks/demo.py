"""How often the distilled student of the one-minute demo beats its scratch baseline: several seeds.

    python -m benchmarks.demo --seeds 0 1 2 3 4 5 6 7 8 9 --epochs 6 9 --precision bfloat16 float32

Prints for each seed both accuracies on the bundled 2,000 test images (last epoch) and the seconds, then in how many
seeds the distilled student is ahead.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
from collections import defaultdict
from itertools import product

from kdexplorer.config import RunConfig
from kdexplorer.runs.checkpoints import run_checkpoints
from kdexplorer.runs.launch import create_run
from kdexplorer.training.estimate import LENGTHS, demo_config
from kdexplorer.training.train import execute


def train_demo(config: RunConfig) -> tuple[float, float, float]:
    """Accuracy of the scratch baseline and of the distilled student (0 to 1), and seconds."""
    run = create_run(config, config.name)
    if execute(run) != "finished":
        raise KeyboardInterrupt
    baseline, distilled = (checkpoint.card for checkpoint in run_checkpoints(run))
    return baseline.test_accuracy, distilled.test_accuracy, baseline.legs[-1].seconds or 0.0


def main() -> None:
    """Parses the command line and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=list(range(10)))
    parser.add_argument("--threads", type=int, help="processor threads (default: torch's choice)")
    parser.add_argument("--epochs", type=int, nargs="+", default=LENGTHS)
    parser.add_argument("--precision", nargs="+", default=["auto"], choices=["auto", "bfloat16", "float32"])
    options = parser.parse_args()
    measured = defaultdict(list)
    with tempfile.TemporaryDirectory() as folder:
        for seed, precision, epochs in product(options.seeds, options.precision, options.epochs):
            config = demo_config(epochs, seed).model_copy(update={"threads": options.threads, "precision": precision})
            os.environ["KDEXPLORER_RUNS"] = tempfile.mkdtemp(dir=folder)  # without what the run before has stored
            baseline, distilled, seconds = train_demo(config)
            measured[precision, epochs].append((distilled - baseline, seconds))
            print(
                f"{precision}, {epochs} epochs, seed {seed}: scratch baseline {100 * baseline:.2f} %, "
                f"distilled {100 * distilled:.2f} %, difference {100 * (distilled - baseline):+.2f}, {seconds:.0f} s",
                flush=True,
            )
    for (precision, epochs), found in measured.items():
        gains, times = zip(*found, strict=True)
        low, middle, high = (100 * value for value in (min(gains), statistics.median(gains), max(gains)))
        print(
            f"{precision}, {epochs} epochs: ahead in {sum(gain > 0 for gain in gains)} of {len(gains)} seeds; "
            f"difference in points: median {middle:+.2f}, {low:+.2f} to {high:+.2f}; "
            f"seconds: median {statistics.median(times):.0f}"
        )


if __name__ == "__main__":
    main()
