"""KD Explorer: see knowledge distillation at work on real CIFAR-10 networks."""

__version__ = "0.1.0"
