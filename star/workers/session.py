"""A connection to Ray: quiet, private by default, and nothing stays behind."""

import logging
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import ray

from star.spec import UserError
from star.workers import guard

CONNECT_SECONDS = 10.0
STORE_BYTES = 256 << 20  # for the trained weights that wait to be fetched


@contextmanager
def connected(address: str, num_workers: int | None, store_bytes: int) -> Iterator[int]:
    """Join the cluster at `address`, or, if that is empty, begin a private one that ends with the context.

    Gives the number of workers: `num_workers`, or one for each core. A private cluster lives on this machine,
    can be reached from it alone, and keeps `store_bytes` besides what workers return.

    Raises:
        UserError: no cluster answers at `address`, it has fewer cores than workers are wanted, or this process
            is connected to Ray already.
    """
    if ray.is_initialized():
        raise UserError("this process is connected to Ray already: call ray.shutdown() first")
    with ExitStack() as stack:
        if not address:
            stack.enter_context(_guarded())
        stack.callback(ray.shutdown)
        if address:
            _join(address)
        else:
            _begin(num_workers or _count_cores(), STORE_BYTES + 2 * store_bytes)
        cores = int(ray.cluster_resources().get("CPU", 0))
        if cores < (num_workers or 1):
            raise UserError(f"the Ray cluster has {cores} cores, too few for {num_workers or 1} workers")
        yield num_workers or cores


def _count_cores() -> int:
    """The cores that this process may use, where the system can tell."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _join(address: str) -> None:
    _knock(address)
    try:
        ray.init(address, log_to_driver=False, logging_level=logging.ERROR)
    except (ConnectionError, ValueError) as error:
        hint = "begin one with `ray start --head`"
        if "AUTH_TOKEN" in str(error.__cause__):
            hint = "set RAY_AUTH_MODE=token if it wants the token in ~/.ray/auth_token"
        raise UserError(f"no Ray cluster lets us in at {address}; {hint}") from error


def _knock(address: str) -> None:
    """Find out in seconds that nobody listens, which takes Ray a quarter of an hour."""
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if not colon:
        return
    try:
        socket.create_connection((host, int(port)), CONNECT_SECONDS).close()
    except (OSError, ValueError) as error:
        raise UserError(f"nothing answers at {address}: {error}") from error


def _begin(cores: int, store_bytes: int) -> None:
    ray.init(
        "local",
        num_cpus=cores,
        object_store_memory=store_bytes,
        include_dashboard=False,
        log_to_driver=False,
        logging_level=logging.ERROR,
        _node_ip_address="127.0.0.1",
    )


@contextmanager
def _guarded() -> Iterator[None]:
    """With a process that outlives this one if need be, to end what Ray began in it."""
    command = [sys.executable, "-I", guard.__file__, str(os.getpid()), str(Path(ray.__file__).parent)]
    # In a session of its own, which neither Ctrl-C nor a closing terminal reaches.
    process = subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True)
    try:
        yield
    finally:
        process.stdin.close()
        process.wait()
