"""Benchmarks: `python -m benchmarks`, or `make bench`. Every number is a ratio to a peer measured in the same run."""
