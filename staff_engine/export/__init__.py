"""Row ids to files."""
