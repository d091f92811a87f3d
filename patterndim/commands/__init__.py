"""The commands of the command line: one file each, with `add` (its options) and `run`."""
