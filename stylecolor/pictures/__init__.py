"""Pictures from files and other forms, and back: of any depth, format, orientation and colour profile."""
