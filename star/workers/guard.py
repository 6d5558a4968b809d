"""A small process that ends what Ray leaves behind when the process that began it is killed.

Ray's daemons die with the driver that began them, but its workers notice only seconds later, and its agents
linger for a minute. The guard knows them all and, when its input ends, which is the end of the driver however
it came, kills those that still run. It is run by file name, so that it imports nothing of this package.
"""

import os
import select
import sys
from contextlib import suppress

import psutil

SHORTEST, LONGEST = 0.2, 10.0  # seconds between two looks, longer and longer while nothing new is seen


def find_processes(driver: psutil.Process, marker: str) -> set[psutil.Process]:
    """Return the children of `driver` whose command line holds `marker`, and all their descendants."""
    found: set[psutil.Process] = set()
    with suppress(psutil.Error):  # of a driver that has ended
        for child in driver.children():
            with suppress(psutil.Error):  # this one has, or nobody has yet asked how: the others matter all the same
                if marker in " ".join(child.cmdline()) and child.pid != os.getpid():
                    found |= {child, *child.children(recursive=True)}
    return found


def watch(driver: psutil.Process, marker: str) -> set[psutil.Process]:
    """Wait for the end of the input, and return every process that was ever found."""
    found: set[psutil.Process] = set()
    patience = SHORTEST
    while not select.select([sys.stdin], [], [], patience)[0]:
        fresh = find_processes(driver, marker) - found
        patience = SHORTEST if fresh else min(2 * patience, LONGEST)
        found |= fresh
    return found


def kill(processes: set[psutil.Process]) -> None:
    """Kill what still runs; a stranger that has since been given the number of one that ended is left alone."""
    for process in processes:
        try:
            process.kill()
        except psutil.Error:
            continue


if __name__ == "__main__":
    kill(watch(psutil.Process(int(sys.argv[1])), sys.argv[2]))
