"""What torchrun tells a process that it starts."""

import os

from star.errors import UserError


def count_processes() -> int:
    """Return how many processes torchrun started; 1 if it did not start this one.

    Raises:
        UserError: the environment is not that of torchrun.
    """
    if "WORLD_SIZE" not in os.environ:
        return 1
    needed = ("WORLD_SIZE", "RANK", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")
    values = [os.environ.get(name, "") for name in needed]
    if not all(values) or not all(value.isdecimal() for value in (*values[:3], values[4])) or values[0] == "0":
        raise UserError(f"WORLD_SIZE is set, but not all of {', '.join(needed)} are: start the processes by torchrun")
    return int(values[0])
