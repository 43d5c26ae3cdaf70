"""The commands of `stylecolor`, a module each. What a command does is imported when it runs, so that --help is quick."""
