"""Samples for display."""
