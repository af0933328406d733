"""What networks cost in every space: limits, the multipliers that hold them, and what a board corrects."""
