"""Studies read by others than their host."""
