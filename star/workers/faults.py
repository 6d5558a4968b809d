"""Why a job gave no result, how often it is tried again for that, and what becomes of it then."""

import re
from pathlib import Path
from typing import NamedTuple

from ray.exceptions import (
    GetTimeoutError,
    NodeDiedError,
    ObjectLostError,
    OutOfMemoryError,
    RayActorError,
    RayError,
    RayTaskError,
)

from star.records import Result, Status

MACHINE_TRIES = 10  # at a job that machines fail, not it
REASON_LENGTH = 300
DEVICE_ERRORS = ("CUDA error", "cuDNN error", "CUBLAS_STATUS")  # after which a process can use its GPU no more
_VICTIM = re.compile(r"pid=(\d+), actual memory used=([\d.]+)GB")
_FRAME = re.compile(r'File "([^"]*)", line (\d+) in (\S+)')


class Cause(NamedTuple):
    """What follows from a cause. A job is given up after `tries` tries that ended so, or, if the cause blames the job,
    after the placement's `tries` that ended in any way that does."""

    meaning: str
    status: Status
    blames: bool = True
    tries: int = 100


CAUSES = {
    "worker killed": Cause("its worker was killed", Status.CRASHED),
    "worker crashed": Cause("its worker crashed", Status.CRASHED),
    "device error": Cause("its GPU failed", Status.CRASHED),
    "out of memory": Cause("its machine ran out of memory", Status.OUT_OF_MEMORY, tries=2),
    "hang": Cause("it took too long", Status.TIMEOUT, tries=1),
    "raised": Cause("the worker raised an error", Status.FAILED, tries=1),
    "no result": Cause("its result was lost", Status.CRASHED),
    "worker lost": Cause("its worker died before it began", Status.CRASHED, blames=False, tries=MACHINE_TRIES),
    "node lost": Cause("its machine was lost", Status.CRASHED, blames=False, tries=MACHINE_TRIES),
}


class Fault(NamedTuple):
    """One try that gave no result: a key of CAUSES, and what is known beyond it."""

    cause: str
    detail: str = ""


def is_hopeless(fault: Fault, retries: dict[str, int], tries: int) -> bool:
    """Whether a job that was tried again so often, by cause, is given up now that this happened."""
    cause = CAUSES[fault.cause]
    blamed = sum(count for name, count in retries.items() if CAUSES[name].blames)
    return retries.get(fault.cause, 0) + 1 >= cause.tries or (cause.blames and blamed + 1 >= tries)


def describe(fault: Fault, retries: dict[str, int]) -> str:
    """One line for the evaluation: what happened last, and after how many tries it was given up."""
    text = f"{CAUSES[fault.cause].meaning}: {fault.detail}" if fault.detail else CAUSES[fault.cause].meaning
    made = sum(retries.values()) + 1
    others = ", ".join(f"{cause} {count} times" for cause, count in retries.items() if cause != fault.cause)
    return one_line(text) + (f"; given up after {made} tries" if made > 1 else "") + (f" ({others})" if others else "")


def one_line(text: object) -> str:
    """A text in one line of bounded length."""
    return " ".join(str(text).split())[:REASON_LENGTH].rstrip(": ")


def find_fault(result: Result) -> Fault | None:
    """What is wrong with a worker that gave this result: it is right about the genome otherwise."""
    error = result.evaluation.error
    if result.evaluation.status is Status.FAILED and any(sign in error for sign in DEVICE_ERRORS):
        return Fault("device error", error)
    return None


def judge(error: RayError, limit: float) -> Fault | None:
    """What an error of Ray means for a job that had `limit` seconds. None: its worker died, and only its notes can
    tell why."""
    match error:
        case GetTimeoutError():
            return Fault("hang", f"stopped after {limit:g} seconds")
        case RayTaskError():
            return Fault("raised", f"{type(error.cause).__name__}: {error.cause}")
        case NodeDiedError() | ObjectLostError():
            return Fault("node lost", str(error))
        case RayActorError() | OutOfMemoryError():
            return None
    return Fault("no result", f"{type(error).__name__}: {error}")


def _is_bystander(message: str, pid: int) -> bool:
    """Whether Ray ended this process for memory that another one used: it ends several at once."""
    used = {int(victim): float(amount) for victim, amount in _VICTIM.findall(message)}
    return pid in used and 2 * used[pid] < max(used.values())


def hold_inquest(error: RayError, pid: int, notes: str | None) -> Fault:
    """Why the process `pid` died, from what Ray says and from its notes, None if nobody could read them."""
    if notes == "":
        return Fault("worker lost", last_sentence(error))
    if isinstance(error, OutOfMemoryError):
        if _is_bystander(str(error), pid):
            return Fault("worker lost", "Ray ended it for memory that another one used")
        return Fault("out of memory", str(error))
    if notes is None:
        return Fault("node lost", "it does not answer")
    _, _, trace = notes.partition("\n")
    if trace:
        frame = _FRAME.search(trace)
        place = f" in {frame[3]}, {Path(frame[1]).name}:{frame[2]}" if frame else ""
        return Fault("worker crashed", trace.splitlines()[0].removeprefix("Fatal Python error: ") + place)
    if "exit code" in str(error):
        return Fault("worker crashed", last_sentence(error))
    return Fault("worker killed", "it left no trace of a crash")


def last_sentence(error: RayError) -> str:
    """What a long message of Ray ends with, which says most."""
    return " ".join(str(error).split()).rstrip(".").rpartition(". ")[2]
