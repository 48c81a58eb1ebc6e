"""Which images each filter keeps, and in which order."""

import numpy as np

from kdexplorer.analysis import image_filters
from kdexplorer.analysis.image_filters import Predictions


def logits_of(predicted):
    return 5.0 * np.eye(3)[np.array(predicted)]


FOUR_IMAGES = Predictions(
    np.array([0, 1, 2, 0]), logits_of([0, 1, 0, 0]), logits_of([1, 1, 2, 0]), logits_of([0, 2, 2, 0])
)


def test_filters_and_orders():
    kept = {
        "All images": [0, 1, 2, 3], "Teacher right": [0, 1, 3], "Teacher wrong": [2],
        "Only the distilled student is right": [0], "Only the scratch baseline is right": [1],
    }  # fmt: skip
    for name, expected in kept.items():
        assert image_filters.filter_images(name, FOUR_IMAGES).tolist() == expected
        of_class = [image for image in expected if FOUR_IMAGES.labels[image] == 0]
        assert image_filters.filter_images(name, FOUR_IMAGES, label=0).tolist() == of_class
    teacher = np.array([[9.0, 0, 0], [1, 0, 0], [0, 0, 0]])
    predictions = Predictions(np.zeros(3, int), teacher, None, np.array([[0.0, 9, 0], [1, 0, 0], [0, 0, 0]]))
    assert image_filters.filter_images("Most uncertain teacher", predictions).tolist() == [2, 1, 0]
    assert image_filters.filter_images("Largest disagreement", predictions).tolist()[0] == 0
    alone = image_filters.available_filters(Predictions(FOUR_IMAGES.labels, FOUR_IMAGES.teacher))
    assert alone == ["All images", "Teacher right", "Teacher wrong", "Most uncertain teacher"]
    assert image_filters.available_filters(FOUR_IMAGES) == list(image_filters.FILTERS)


def test_the_most_instructive_image_is_one_whose_gradient_raises_the_labels_class():
    teacher = np.array([[2.0, 1, 1], [9, 0, 0]])  # right on both, less certain of the first
    confident = np.array([[20.0, 0, 0], [0, 0, 0]])
    student, target = np.exp(5) / (np.exp(5) + 2), np.exp(0.5) / (np.exp(0.5) + 2 * np.exp(0.25))  # at T = 4
    assert 0.7 * 4 * (student - target) > 0.3  # so on the first image the label's class is lowered
    labels = np.zeros(2, int)
    assert image_filters.most_instructive(Predictions(labels, teacher), 4.0, 0.7) == 0
    assert image_filters.most_instructive(Predictions(labels, teacher, None, confident), 4.0, 0.7) == 1
    assert image_filters.most_instructive(Predictions(labels, teacher, None, confident[::-1]), 4.0, 0.7) == 0


def test_a_distilled_student_is_paired_with_its_own_baseline(tmp_path, make_checkpoint, tiny):
    def make(seed, run, *methods):
        objective = {"terms": [{"method": method} for method in methods]}
        logits = np.full((60, 10), float(seed))
        return make_checkpoint(tmp_path / str(seed), seed=seed, logits=logits, run=run, objective=objective)

    other, baseline, unpaired, student = make(0, "x"), make(1, "r"), make(2, "y", "kd"), make(3, "r", "at")

    def gather(teacher, *students):
        return image_filters.gather_predictions(teacher, students, "synthetic", np.zeros(2, int))

    found = gather(other, other, baseline, unpaired, student)
    assert (found.scratch[0, 0], found.distilled[0, 0]) == (1.0, 3.0)
    found = gather(other, other, unpaired)
    assert (found.scratch, found.distilled[0, 0]) == (None, 2.0)
    assert gather(make_checkpoint(tmp_path / "without-logits"), baseline, student) is None
