"""The audience's vote: questions, votes on the disk, what phones load, and what the votes say about the networks."""
