"""Experiments: why does distillation work?"""

from kdexplorer.app import experiments

experiments.show()
