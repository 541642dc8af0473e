"""The host side: the only part of the package that imports Optuna."""
