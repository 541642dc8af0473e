"""The study strategies on Optuna's side: each module does one, its decisions are in
``scheduler.strategies``."""
