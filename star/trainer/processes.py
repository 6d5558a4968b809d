"""The processes of one training, as torchrun starts them: one a device."""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from uuid import uuid4

import torch
import torch.distributed as dist

from star.errors import UserError
from star.trainer.torchrun import count_processes

LONGEST_WAIT = timedelta(minutes=30)  # for another process, such as one that reads the corpus
LONGEST_ACTION = timedelta(days=2)  # of the first process, such as to tokenise a large corpus
LOOK_AGAIN = timedelta(seconds=0.5)


@dataclass(frozen=True, slots=True)
class Processes:
    """The processes of a training: the number of this one, how many there are, and its device."""

    rank: int
    world: int
    device: str
    store: dist.Store | None = None  # of these processes alone

    @property
    def is_first(self) -> bool:
        """Whether this process writes files and tells of progress."""
        return self.rank == 0

    def first(self, name: str, action: Callable[[], str]) -> str:
        """Let the first process do something, and return its result in all of them.

        Args:
            name: of the action; no other one has it.

        Raises:
            UserError: the first process raised it, for all to raise.
        """
        if self.store is None:
            return action()
        if self.is_first:
            try:
                result = f"+{action()}"
            except UserError as error:
                result = f"-{error}"
            self.store.set(name, result)
        else:
            self.store.wait([name], LONGEST_ACTION)
        result = self.store.get(name).decode()
        if result[0] == "-":
            raise UserError(result[1:])
        return result[1:]

    def wait(self) -> None:
        """Wait until all processes are here."""
        if self.world > 1:
            dist.barrier()


def find_device(device: str) -> str:
    """Return "cpu" or "cuda" for "auto", "cpu" or "cuda".

    Raises:
        UserError: there is no such device.
    """
    has_gpu = torch.cuda.is_available()
    if device == "cuda" and not has_gpu:
        raise UserError("device cuda: torch finds no GPU here; use --device cpu")
    return "cuda" if has_gpu and device != "cpu" else "cpu"


@contextmanager
def joined(device: str) -> Iterator[Processes]:
    """Join the other processes of this training, if torchrun started several, for as long as the context lasts.

    Args:
        device: "auto", "cpu" or "cuda".

    Raises:
        UserError: there is no such device.
    """
    kind = find_device(device)
    world = count_processes()
    if kind == "cuda":
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", 0)))
    if world == 1:
        yield Processes(0, 1, kind)
        return
    store, rank, world = next(dist.rendezvous("env://", timeout=LONGEST_WAIT))
    fresh = dist.PrefixStore(agree(store, rank, world), store)
    backend = "nccl" if kind == "cuda" else "gloo"
    dist.init_process_group(backend, store=fresh, rank=rank, world_size=world, timeout=LONGEST_WAIT)
    try:
        yield Processes(rank, world, kind, fresh)
    finally:
        dist.destroy_process_group()


def agree(store: dist.Store, rank: int, world: int) -> str:
    """Return a name that these processes alone have in common, and none that ran before them.

    torchrun starts all processes again after one failed, with a store that still holds the addresses of the former
    ones: who reads these waits for ever. The first process writes a word, each other answers it, and the first one
    confirms the answers: a process that finds the word of former ones is not confirmed, and looks again.
    """
    own = uuid4().hex
    if rank == 0:
        store.set("word", own)
        for other in range(1, world):
            store.wait([f"{own}/{other}"], LONGEST_WAIT)
        store.set(f"{own}/all", " ".join(store.get(f"{own}/{other}").decode() for other in range(1, world)))
        return own
    end = time.monotonic() + LONGEST_WAIT.total_seconds()
    while time.monotonic() < end:
        word = store.get("word").decode()
        store.set(f"{word}/{rank}", own)
        with suppress(dist.DistStoreError):
            store.wait([f"{word}/all"], LOOK_AGAIN)
            if own in store.get(f"{word}/all").decode().split():
                return word
        time.sleep(LOOK_AGAIN.total_seconds() / 10)
    raise TimeoutError(f"process {rank} met no others within {LONGEST_WAIT}")
