"""How an attempt's process comes to be."""
