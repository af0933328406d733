"""Search spaces and the differentiable search in them; `space` and `prices` need no torch."""
