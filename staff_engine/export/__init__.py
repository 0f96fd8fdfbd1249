"""From row ids to files."""
