"""
Benchmarks of patterndim against what people use today; see ``python -m bench --help``.

`cases` says what is computed, `peers` who computes it, `compare` checks that all agree and times
them in turn, `report` describes the machine and writes the table.  `autodiff`, `keras` and
`processes` are peers.  `scaling`, a command of its own, measures how times grow.

To add a peer: one entry in `peers.TASKS`, and its name in the cases it can do.
"""
