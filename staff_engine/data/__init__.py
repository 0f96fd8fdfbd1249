"""From a data source to samples, and from samples to tokens."""
