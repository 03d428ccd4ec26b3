"""Benchmarks: ratios of two things that are measured in alternation in one run, because machines differ and are noisy."""
