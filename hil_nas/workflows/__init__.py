"""What each command does from beginning to end, step by step into a run folder."""
