"""Benchmarks: one module per workload, one command for all of them, one table."""
