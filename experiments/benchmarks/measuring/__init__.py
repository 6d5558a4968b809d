"""Shared by benchmarks: timed steps, the clock, and the tables of a page."""
