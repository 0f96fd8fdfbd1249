"""One forward and backward pass to score tables on disk."""
