"""The look at every row of a data set."""
