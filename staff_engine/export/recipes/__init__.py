"""From a coreset to a file that another tool trains the target with."""
