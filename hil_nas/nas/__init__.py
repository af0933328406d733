"""Search spaces and the search in them: the loop and its protocols here, what each kind of search adds in rooms below."""
