"""Results of a grid whose outcome is chosen."""

import numpy as np

from kdexplorer.sweeps.aggregate import build_cells
from kdexplorer.sweeps.grid import DEFAULT_POINT, GridPoint
from kdexplorer.sweeps.results import SweepResults, SweepStudent

POINTS = [
    GridPoint(temperature=None, weight=0),
    *(GridPoint(temperature=temperature, weight=0.7) for temperature in (1, 2)),
    DEFAULT_POINT,
]


def make_results(chances, seeds=3, images=400):
    """The scratch baseline, two cells and the default, whose students get each image right with the given chance.

    Returns the results and which images are right, by place and seed.
    """
    generator = np.random.default_rng(1)
    right = {
        (point, seed): generator.random(images) < chance
        for point, chance in zip(POINTS, chances, strict=True)
        for seed in range(seeds)
    }
    students = [
        SweepStudent(
            **point.model_dump(), seed=seed, accuracy=float(values.mean()), cross_entropy=0.5, calibration_error=0.5
        )
        for (point, seed), values in right.items()
    ]
    scratch, *cells = build_cells(students, right, DEFAULT_POINT)
    best = max(cells, key=lambda cell: cell.accuracy)
    results = SweepResults(
        student="resnet8",
        teacher="resnet56",
        evaluated_on=f"{images} test images",
        temperatures=[1, 2, 4],
        weights=[0.7],
        students=students,
        cells=cells,
        scratch=scratch,
        default=DEFAULT_POINT,
        best=GridPoint(temperature=best.temperature, weight=best.weight),
    )
    return results, right
