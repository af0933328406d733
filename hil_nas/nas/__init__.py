"""Search spaces and the search in them: the loop and its protocols here, what a kind of search adds in rooms below."""
