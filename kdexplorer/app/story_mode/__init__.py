"""The lecture, step by step, and single figures."""
