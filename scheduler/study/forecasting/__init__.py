"""What the host knows of its trials' memory, and what follows for those that have not begun."""
