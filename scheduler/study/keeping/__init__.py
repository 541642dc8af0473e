"""What of a run survives, and the storages it is in."""
