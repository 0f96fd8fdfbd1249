"""Check every row of a data set."""
