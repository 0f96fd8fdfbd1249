"""Several models' scores of the same samples."""
