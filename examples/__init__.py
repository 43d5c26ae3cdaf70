"""Examples: `make demo` runs `examples.demo`."""
