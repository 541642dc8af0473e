"""Read the machine. Knows nothing of trials, studies or decisions, imports nothing of scheduler."""
