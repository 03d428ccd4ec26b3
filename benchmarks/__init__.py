"""Benchmarks: ratios of two times that are measured in alternation in one run, because machines differ and are noisy."""
