"""What every loop that learns shares: where it runs, its state on disk, and what a step needs."""
