"""A source to samples to tokens."""
