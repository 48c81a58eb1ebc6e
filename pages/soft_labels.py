"""Soft labels: one image, a teacher and its students, and the effect of the temperature."""

from kdexplorer.app import soft_labels

soft_labels.show()
