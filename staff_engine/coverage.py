"""Several coresets of the same data: how alike they are, and what of the data they reach."""
