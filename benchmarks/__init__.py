"""One command for each measured page."""
