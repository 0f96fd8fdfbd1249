"""Data files: their kinds, and the rows in them."""
