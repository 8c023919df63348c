"""Names to blocks: the index, its locks and counters, and which block goes first."""
