"""Runs from beginning to end: the loop that asks, trains, tells and records, and its resumption."""

from star.evolve.progress import Progress, Silent
from star.evolve.run import Interrupted, evolve, resume
from star.evolve.summary import Summary

__all__ = ["Interrupted", "Progress", "Silent", "Summary", "evolve", "resume"]
