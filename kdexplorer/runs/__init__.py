"""What training leaves on disk: run folders, checkpoints with their cards, and who distilled whom."""
