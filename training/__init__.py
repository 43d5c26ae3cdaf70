"""Running an experiment: its settings, its run directory, its trainer. Below the entry points, above the stages and the data."""
