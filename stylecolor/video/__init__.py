"""Films: read, colorized steadily, and written with their sound."""
