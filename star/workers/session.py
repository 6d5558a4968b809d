"""A connection to Ray: quiet, private by default, and nothing stays behind."""

import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import cache
from pathlib import Path
from secrets import token_hex
from tempfile import TemporaryFile

import ray

from star.cost.process import count_cores
from star.errors import UserError
from star.workers import guard
from star.workers.address import CONNECT_SECONDS, ENVIRONMENT, Address, Head, find_address, knock
from star.workers.faults import one_line
from star.workers.placement import Placement

STORE_BYTES = 256 << 20  # for the trained weights that wait to be fetched
LONGEST_SOCKET = 107 if sys.platform == "linux" else 103  # bytes of a Unix socket's path
SOCKET = "session_2000-01-01_00-00-00_000000_0000000/sockets/plasma_store.00"  # as Ray names it in its directory


@contextmanager
def connected(placement: Placement) -> Iterator[Head]:
    """Join the cluster of a placement, or, if it names none, begin a private one that ends with the context.

    A private cluster lives on this machine, can be reached from it alone, has a core for each worker, and keeps
    `store_bytes` besides what workers return.

    Raises:
        UserError: no cluster answers, this machine has no room for a worker or cannot begin Ray, or this process is
            connected to Ray already.
    """
    if ray.is_initialized():
        raise UserError("this process is connected to Ray already: call ray.shutdown() first")
    address = find_address(placement.address)
    with ExitStack() as stack:
        if not address.text:
            stack.enter_context(_token())
            stack.enter_context(_guarded())
        stack.callback(ray.shutdown)
        if address.text:
            _join(address)
            yield Head(address)
        else:
            _begin(placement.workers or count_cores(), STORE_BYTES + 2 * placement.store_bytes)
            _check_room(placement)
            yield Head(find_address(ray.get_runtime_context().gcs_address))


def _check_room(placement: Placement) -> None:
    resources, wanted = ray.cluster_resources(), max(1, placement.workers)
    if (room := placement.room(resources)) < wanted:
        raise UserError(
            f"this machine has room for {room} of {wanted} workers: each takes {placement.describe()}, and there are "
            f"{resources.get('GPU', 0):g} GPUs and {resources.get('memory', 0) / 1e9:.3g} GB of memory"
        )


def _join(address: Address) -> None:
    """Connect to a cluster. Nobody answers: that shows here in seconds, while Ray would try for minutes."""
    try:
        knock(address, CONNECT_SECONDS)
    except OSError as error:
        raise UserError(f"nothing answers at {address.describe()}: {error}") from error
    # For a cluster that it finds itself Ray takes the token in the home directory.
    name = address.text if address.source in ("", ENVIRONMENT) else "auto"
    try:
        ray.init(name, log_to_driver=False, logging_level=logging.ERROR)
    except (ConnectionError, ValueError) as error:
        hint = "begin one with `ray start --head`"
        if "AUTH_TOKEN" in str(error.__cause__):
            hint = "set RAY_AUTH_MODE=token if it wants the token in ~/.ray/auth_token"
        elif "ray[client]" in str(error):
            hint = "ray:// needs more of Ray: pip install 'ray[client]'"
        raise UserError(f"no Ray cluster lets us in at {address.describe()}; {hint}") from error


def _begin(cores: int, store_bytes: int) -> None:
    folder = find_temp_dir()
    try:
        ray.init(
            "local",
            num_cpus=cores,
            object_store_memory=store_bytes,
            include_dashboard=False,
            log_to_driver=False,
            logging_level=logging.ERROR,
            _node_ip_address="127.0.0.1",
            _temp_dir=str(folder),
        )
    except OSError as error:
        raise UserError(f"Ray cannot begin on this machine: {one_line(error)}") from error


def find_temp_dir() -> Path:
    """Return a directory for Ray's sockets and logs: where Ray would put it, else below /tmp or /var/tmp.

    Raises:
        UserError: in none of them can be written, or their paths are too long for a socket.
    """
    named = [os.environ[name] for name in ("RAY_TMPDIR", "TMPDIR") if os.environ.get(name)]
    reasons = []
    for folder in dict.fromkeys(Path(one).absolute() / "ray" for one in (*named, "/tmp", "/var/tmp")):
        if len(os.fsencode(folder / SOCKET)) > LONGEST_SOCKET:
            reasons.append(f"{folder} is too long for the name of a socket")
            continue
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with TemporaryFile(dir=folder):
                return folder
        except OSError as error:
            reasons.append(f"{folder}: {error.strerror}")
    raise UserError(f"Ray needs a directory that can be written, such as one in TMPDIR; tried {', '.join(reasons)}")


@cache
def _own_token() -> str:
    return token_hex(32)  # one for the whole process, because Ray reads it only once


@contextmanager
def _token() -> Iterator[None]:
    """Give a private cluster a token of its own; Ray would leave one in the home directory, readable by others."""
    before = {name: os.environ.get(name) for name in ("RAY_AUTH_TOKEN", "RAY_AUTH_MODE")}
    if not (before["RAY_AUTH_TOKEN"] or os.environ.get("RAY_AUTH_TOKEN_PATH")):
        os.environ["RAY_AUTH_TOKEN"] = _own_token()
    try:
        yield
    finally:
        for name, value in before.items():  # Ray sets the mode, too
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


@contextmanager
def _guarded() -> Iterator[None]:
    """Run a process beside this one that ends what Ray began here, even if this one is killed."""
    command = [sys.executable, "-I", guard.__file__, str(os.getpid()), str(Path(ray.__file__).parent)]
    # In a session of its own, which neither Ctrl-C nor a closing terminal reaches.
    process = subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True)
    try:
        yield
    finally:
        process.stdin.close()
        process.wait()
