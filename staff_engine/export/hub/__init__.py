"""A coreset as a data set that the Hugging Face Hub and `load_dataset` understand."""
