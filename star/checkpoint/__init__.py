"""A run on disk: atomic files that survive a kill at any instant, and notice when they are torn."""

from star.checkpoint.run_directory import RunDirectory

__all__ = ["RunDirectory"]
