"""The command line."""

from star.cli.command import app, main, run

__all__ = ["app", "main", "run"]
