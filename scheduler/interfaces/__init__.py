"""What people and scripts see: the command line and its tables."""
