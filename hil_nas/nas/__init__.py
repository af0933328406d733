"""Search spaces and the search in them: here the loop and its protocols, in rooms below what each search adds."""
