"""Find the head of a Ray cluster, and check that it answers."""

import os
import socket
from typing import NamedTuple

from ray._private.services import get_ray_address_from_environment

from star.errors import UserError

CONNECT_SECONDS = 10.0  # for the first answer of a head
KNOCK_SECONDS = 1.0  # for every later one
CLIENT_PORT = 10001  # of ray://HOST
ENVIRONMENT = "the variable RAY_ADDRESS"
# Every gRPC server answers the preface of HTTP/2 and empty settings by settings of its own (RFC 9113, 3.4).
_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])
_SETTINGS = 4  # the type of such a frame, its fourth byte


class Address(NamedTuple):
    """The head of a cluster."""

    text: str  # as Ray takes it: HOST:PORT or ray://HOST:PORT; empty for a private cluster
    host: str = ""
    port: int = 0
    source: str = ""  # the variable or file that names it; empty if a person does

    def describe(self) -> str:
        """Return the address and where it comes from, in words."""
        return f"{self.text} (from {self.source})" if self.source else self.text


def find_address(given: str) -> Address:
    """Return the head that `given` stands for: auto, HOST:PORT, ray://HOST:PORT, or local for a private cluster.

    Raises:
        UserError: it is no address, or `auto` finds none.
    """
    if given != "auto":
        return _parse(given)
    if named := os.environ.get("RAY_ADDRESS"):
        return _parse(named, ENVIRONMENT)
    try:
        found = get_ray_address_from_environment("auto", None)
    except ConnectionError:
        raise UserError(
            "no Ray cluster was found on this machine: begin one with `ray start --head`, or give the address of one"
        ) from None
    return _parse(found, _find_source(found))


def _find_source(found: str) -> str:
    """Return which of the places in which Ray looks for `auto` has given this address."""
    folder = os.environ.get("RAY_TMPDIR") or os.environ.get("TMPDIR") or "/tmp"
    path = os.path.join(folder, "ray", "ray_current_cluster")
    try:
        with open(path, encoding="utf-8") as file:
            is_there = file.read().strip() == found
    except OSError:
        is_there = False
    return f"the file {path}" if is_there else "a process of Ray on this machine"


def _parse(text: str, source: str = "") -> Address:
    if text in ("", "local"):
        return Address("")
    host, colon, port = text.removeprefix("ray://").rpartition(":")
    if text.startswith("ray://") and not colon:
        host, port = port, str(CLIENT_PORT)
    if not host or "/" in host or not port.isdecimal():
        named = f"{text:.100} (from {source})" if source else f"{text:.100}"
        raise UserError(f"{named} is no address of a Ray cluster: it is auto, HOST:PORT or ray://HOST:PORT")
    return Address(text, host.strip("[]"), int(port), source)


def knock(address: Address, seconds: float) -> None:
    """Wait until the head answers. OSError if it does not within so many seconds.

    That it accepts a connection is not enough: so does a process that is paused, or a server of another kind; Ray would
    wait minutes for either.
    """
    with socket.create_connection((address.host, address.port), seconds) as connection:
        if os.environ.get("RAY_USE_TLS", "0").lower() in ("1", "true"):
            return  # it answers nobody before a handshake
        connection.settimeout(seconds)
        connection.sendall(_PREFACE)
        answer = connection.recv(9)
        if len(answer) < 4 or answer[3] != _SETTINGS:
            raise ConnectionError("what listens there is not Ray")


class Head:
    """The process that keeps a cluster together.

    Ray ends this process without a word when its head has been silent for a minute: ask first.
    """

    def __init__(self, address: Address) -> None:
        self._address = address

    def __str__(self) -> str:
        return self._address.text

    def answers(self) -> bool:
        """Return whether it answers now."""
        try:
            knock(self._address, KNOCK_SECONDS)
        except OSError:
            return False
        return True
