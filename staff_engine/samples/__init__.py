"""Rows as people look at them."""
