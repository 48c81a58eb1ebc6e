"""A league's table whose outcome is chosen."""

from kdexplorer.sweeps.declaration import Declaration
from kdexplorer.sweeps.league_table import LeagueEntry, LeagueRow, LeagueSeed, LeagueTable

ACCURACIES = {
    "scratch": [0.700, 0.712, 0.695, 0.705, 0.708],
    "kd": [0.722, 0.731, 0.714, 0.726, 0.727],
    "at": [0.703, 0.709, 0.699, 0.711, 0.704],
}
STEPS = {"scratch": 0.010, "kd": 0.015, "at": 0.020}


def make_table(accuracies=None, seeds=5):
    """Three entries, the first so many of five seeds; machines become slower from seed to seed."""
    declaration = Declaration(
        student="resnet8",
        seeds=[0, 1, 2, 3, 4],
        references=["scratch", "kd"],
        entries={"scratch": "scratch", "kd": "kd", "at": "at"},
        settings={"teacher": "resnet56", "epochs": 12},
    )
    rows = [
        LeagueRow(
            entry=entry,
            seed=seed,
            accuracy=values[seed],
            cross_entropy=0.9,
            calibration_error=0.1,
            scaled_cross_entropy=0.8,
            scaled_calibration_error=0.02,
            scaling_temperature=1.5,
            teacher_agreement=0.75,
            step_seconds=(1 + seed) * STEPS[entry],
        )
        for seed in range(seeds)
        for entry, values in (accuracies or ACCURACIES).items()
    ]
    return LeagueTable(
        declaration=declaration,
        declaration_sha256=declaration.sha256,
        teacher="0" * 64,
        evaluated_on="10,000 test images of CIFAR-10",
        entries=[
            LeagueEntry(name=one.name, objective=one.objective, state_bytes=10**6, kept_bytes=10**7)
            for one in declaration.students()
        ],
        seeds=[
            LeagueSeed(
                seed=seed, run=f"r-{seed}", seconds=60, batch_seconds=(1 + seed) * 0.03, device="a", precision="float32"
            )
            for seed in range(seeds)
        ],
        rows=rows,
    )
