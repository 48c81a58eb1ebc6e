"""What stored logits say: metrics, statistics, result tables, attention similarity, human agreement."""
