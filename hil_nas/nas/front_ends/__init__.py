"""The front end as a variable of a search: one of a list by gamma, or any window, hop and coefficients by gradient."""
