"""Training runs: one teacher and the students that see the same batches."""
