"""The pure core: events in, actions out. No clock, file, process, log, chance or Optuna in here."""
