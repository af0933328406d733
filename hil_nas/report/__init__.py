"""Pages for people: what a run found, as one HTML file."""
