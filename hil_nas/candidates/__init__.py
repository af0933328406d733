"""Networks beside the one that a search derived: sampled, trained briefly side by side, and the best of them chosen."""
