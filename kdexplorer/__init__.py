"""KD Explorer: see knowledge distillation at work on real CIFAR-10 networks."""

import os

# Torch's threads on a processor (libgomp) wait for each other in a loop of so many turns, up to a millisecond, before
# they sleep. By default it is 300,000: when other programs want the cores too, waiting then takes the time that the
# others need to arrive: beside a program that never rests, a step of two ResNet-8 taught by ResNet-56 took 1.5 s on two
# cores, and 0.4 s so; alone, 0.1 s either way. The library reads it when torch is imported.
os.environ.setdefault("GOMP_SPINCOUNT", "20000")

__version__ = "0.1.0"
