"""The cost of a run, measured before it starts."""
