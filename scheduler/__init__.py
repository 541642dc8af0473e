"""Run an Optuna script's trials side by side, as many as the device's measured memory allows."""
