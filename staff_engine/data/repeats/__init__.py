"""Rows that repeat others, in the data or in a held-out file."""
