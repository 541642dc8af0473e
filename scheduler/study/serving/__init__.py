"""The host while it serves an ``optimize`` call."""
