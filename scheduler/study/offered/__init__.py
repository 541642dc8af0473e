"""What scripts may call: see ``scheduler``."""
