"""Data files: their types, and the rows in them."""
