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

from star.errors import UserError
from star.process import count_cores
from star.workers import guard
from star.workers.placement import Placement

CONNECT_SECONDS = 10.0
KNOCK_SECONDS = 1.0
STORE_BYTES = 256 << 20  # for the trained weights that wait to be fetched


class Head:
    """The machine that keeps a cluster together. Ray ends this process, without a word to us, when its head has been
    silent for a minute: whoever would rather end in order asks first."""

    def __init__(self, address: str) -> None:
        self.address = address
        self._host, self._port = _split(address)

    def answers(self) -> bool:
        """Whether something listens there."""
        try:
            socket.create_connection((self._host, self._port), KNOCK_SECONDS).close()
        except OSError:
            return False
        return True


@contextmanager
def connected(placement: Placement) -> Iterator[Head]:
    """Join the cluster of a placement, or, if it names none, begin a private one that ends with the context.

    A private cluster lives on this machine, can be reached from it alone, has a core for each worker, and keeps
    `store_bytes` besides what workers return.

    Raises:
        UserError: no cluster answers, this machine has no room for a worker, or this process is connected to Ray
            already.
    """
    if ray.is_initialized():
        raise UserError("this process is connected to Ray already: call ray.shutdown() first")
    address = placement.address
    with ExitStack() as stack:
        if not address:
            stack.enter_context(_guarded())
        stack.callback(ray.shutdown)
        if address:
            _join(address)
        else:
            _begin(placement.workers or count_cores(), STORE_BYTES + 2 * placement.store_bytes)
            _check_room(placement)
        yield Head(address if "://" in address else ray.get_runtime_context().gcs_address)


def _check_room(placement: Placement) -> None:
    resources, wanted = ray.cluster_resources(), max(1, placement.workers)
    if (room := placement.room(resources)) < wanted:
        raise UserError(
            f"this machine has room for {room} of {wanted} workers: each takes {placement.describe()}, and there are "
            f"{resources.get('GPU', 0):g} GPUs and {resources.get('memory', 0) / 1e9:.3g} GB of memory"
        )


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
    if ":" not in address.removeprefix("ray://"):
        return
    try:
        socket.create_connection(_split(address), CONNECT_SECONDS).close()
    except (OSError, ValueError) as error:
        raise UserError(f"nothing answers at {address}: {error}") from error


def _split(address: str) -> tuple[str, int]:
    host, _, port = address.removeprefix("ray://").rpartition(":")
    return host.strip("[]"), int(port)


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
