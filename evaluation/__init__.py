"""Measure checkpoints and training-free methods on the same pictures."""
