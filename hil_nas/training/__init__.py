"""Training networks from their descriptions: one loop and one recipe for every network."""
