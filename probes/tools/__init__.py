"""The programs and libraries of the GPUs' makers, one module or a few for each."""
