"""Architectures by name: how each is built, its stages, and what it costs."""

from kdexplorer.networks.outputs import Outputs
from kdexplorer.networks.registry import Architecture, Stage, all_architectures, build, build_empty, get_architecture

__all__ = ["Architecture", "Outputs", "Stage", "all_architectures", "build", "build_empty", "get_architecture"]
