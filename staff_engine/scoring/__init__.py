"""Score samples with one forward and backward pass, and store the scores on disk."""
