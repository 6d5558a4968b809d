"""What the benchmarks of operators share: what is timed, how it is timed, the tables of a page."""
