"""Sweeps: grids of students, how they are packed into experiments and trained, and their results."""
