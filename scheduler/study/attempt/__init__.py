"""The end of the line in an attempt's own process."""
