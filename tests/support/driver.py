"""A process that drives the tiny run in a directory, begun if there is none yet; made to be killed."""

import os
import signal
import sys
from pathlib import Path

from star.run.settings import Settings
from star.storage.run_directory import RunDirectory
from support.runs import Driver
from support.tiny import invent

REAL = Driver()
TOUCHES = {"open", "os.rename", "os.remove", "os.mkdir"}


def drive(path: Path, config: Settings, driver: Driver = REAL) -> None:
    """Begin the run, or continue it."""
    run = RunDirectory(path)
    if (path / "run.toml").exists():
        driver.resume(run)
    else:
        driver.evolve(config, run)


def drive_until(touch: int, path: Path, config: Settings) -> None:
    """The same with invented results, by a process that kills itself just before it touches the disk for the
    `touch`-th time."""
    touched = 0

    def count(event: str, arguments: tuple) -> None:
        nonlocal touched
        if event in TOUCHES and str(arguments[0]).startswith(str(path)):
            touched += 1
            if touched == touch:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(count)
    drive(path, config, Driver(invent))


def drive_alone(path: Path, config: Settings, errors: Path) -> None:
    """The same in a session of its own, with standard error in a file."""
    os.setsid()
    with errors.open("w") as file:
        os.dup2(file.fileno(), 2)
    drive(path, config)
