"""The studio: colorize in the browser, by looking and clicking. `stylecolor.studio.server.serve` opens it."""
