"""Why a job gave no result, how often it is tried again for each cause, and how it ends if that does not help."""

import re
from pathlib import Path
from typing import NamedTuple

from ray.exceptions import (
    NodeDiedError,
    ObjectLostError,
    OutOfMemoryError,
    RayActorError,
    RayError,
    RayTaskError,
)

from star.records import Result, Status
from star.workers.crash_log import Evidence

MACHINE_TRIES = 10  # of a job that fails for the fault of machines
REASON_LENGTH = 300
DEVICE_ERRORS = ("CUDA error", "cuDNN error", "CUBLAS_STATUS")  # after which a process can use its GPU no more
_SILENT = "it does not answer"
_VICTIM = re.compile(r"pid=(\d+), actual memory used=([\d.]+)GB")
_FRAME = re.compile(r'File "([^"]*)", line (\d+) in (\S+)')


class Cause(NamedTuple):
    """The consequences of a cause. A job is given up after `tries` tries that ended for this cause, or, if the cause
    blames the job, after the placement's `tries` that ended for any cause that does."""

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
    "worker paused": Cause("its worker was paused", Status.CRASHED, blames=False, tries=MACHINE_TRIES),
    "worker lost": Cause("its worker died before it began", Status.CRASHED, blames=False, tries=MACHINE_TRIES),
    "node lost": Cause("its machine was lost", Status.CRASHED, blames=False, tries=MACHINE_TRIES),
}


class Fault(NamedTuple):
    """One try that gave no result: a key of CAUSES, and details."""

    cause: str
    detail: str = ""


def is_hopeless(fault: Fault, retries: dict[str, int], tries: int) -> bool:
    """Return whether a job is given up after this fault; `retries` says how often it was tried again, by cause."""
    cause = CAUSES[fault.cause]
    blamed = sum(count for name, count in retries.items() if CAUSES[name].blames)
    return retries.get(fault.cause, 0) + 1 >= cause.tries or (cause.blames and blamed + 1 >= tries)


def describe(fault: Fault, retries: dict[str, int]) -> str:
    """Return one line for the evaluation: the last fault, and after how many tries the job was given up."""
    text = f"{CAUSES[fault.cause].meaning}: {fault.detail}" if fault.detail else CAUSES[fault.cause].meaning
    made = sum(retries.values()) + 1
    others = ", ".join(f"{cause} {count} times" for cause, count in retries.items() if cause != fault.cause)
    return one_line(text) + (f"; given up after {made} tries" if made > 1 else "") + (f" ({others})" if others else "")


def one_line(text: object) -> str:
    """Return a text in one line of bounded length."""
    return " ".join(str(text).split())[:REASON_LENGTH].rstrip(": ")


def find_fault(result: Result) -> Fault | None:
    """Return the fault of the worker that shows in this result; None if it is true of the genome."""
    error = result.evaluation.error
    if result.evaluation.status is Status.FAILED and any(sign in error for sign in DEVICE_ERRORS):
        return Fault("device error", error)
    return None


def diagnose_error(error: RayError) -> Fault | None:
    """Return the fault that an error of Ray stands for; None if a worker died, which `diagnose_death` explains."""
    match error:
        case RayTaskError():
            return Fault("raised", f"{type(error.cause).__name__}: {error.cause}")
        case NodeDiedError() | ObjectLostError():
            return Fault("node lost", str(error))
        case RayActorError() | OutOfMemoryError():
            return None
    return Fault("no result", f"{type(error).__name__}: {error}")


def diagnose_delay(evidence: Evidence | None, limit: float, excused: float) -> Fault | None:
    """Return why a job is late; None if that is because its worker was paused, so that it gets the time back.

    Args:
        evidence: the state of its worker; None if its machine does not answer.
        limit: seconds that the job had.
        excused: seconds of pauses for which it got more time already.
    """
    if evidence is None:
        return Fault("node lost", _SILENT)
    if evidence.is_stopped:
        return Fault("worker paused", f"it was still so when the {limit:g} seconds of its job were over")
    return None if evidence.paused > excused else Fault("hang", f"stopped after {limit:g} seconds")


def diagnose_death(error: RayError, pid: int, evidence: Evidence | None) -> Fault:
    """Return why the process `pid` died.

    Args:
        error: what Ray said.
        pid: of the worker.
        evidence: what the worker left on its machine; None if the machine does not answer.
    """
    if evidence is not None and not evidence.log:
        return Fault("worker lost", last_sentence(error))
    if isinstance(error, OutOfMemoryError):
        if _is_bystander(str(error), pid):
            return Fault("worker lost", "Ray ended it for memory that another one used")
        return Fault("out of memory", str(error))
    if evidence is None:
        return Fault("node lost", _SILENT)
    if trace := evidence.trace:
        frame = _FRAME.search(trace)
        place = f" in {frame[3]}, {Path(frame[1]).name}:{frame[2]}" if frame else ""
        return Fault("worker crashed", trace.splitlines()[0].removeprefix("Fatal Python error: ") + place)
    if "exit code" in str(error):
        return Fault("worker crashed", last_sentence(error))
    return Fault("worker killed", "it left no trace of a crash")


def _is_bystander(message: str, pid: int) -> bool:
    """Return whether Ray ended this process for memory that another one used: it ends several at once."""
    used = {int(victim): float(amount) for victim, amount in _VICTIM.findall(message)}
    return pid in used and 2 * used[pid] < max(used.values())


def last_sentence(error: RayError) -> str:
    """Return the last sentence of a long message of Ray, which says most."""
    return " ".join(str(error).split()).rstrip(".").rpartition(". ")[2]
