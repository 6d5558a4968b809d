"""What to train with a budget: by compute alone, and with the inference that the model is trained for."""

import json
from pathlib import Path
from typing import Any, NamedTuple

from star.errors import UserError, disk_errors_reported, located, nearest
from star.laws.fits import LAWS
from star.laws.optimum import Optimum, find_optimum
from star.laws.published import PUBLISHED
from star.laws.serving import Served, find_served_optimum

# Peak FLOPs per second of one GPU for dense matrices in bfloat16, from the makers' data sheets.
PEAKS = {"a100": 312e12, "h100": 989e12, "h200": 989e12, "b200": 2.25e15, "mi300x": 1.307e15}
DENSE = ("chinchilla", "over-training", "kaplan")  # laws of N and D alone
MOST_BYTES = 2**20


class Plan(NamedTuple):
    """The best model for a training budget, and the cheapest of the same loss when its inference counts.

    Attributes:
        served: None if no inference was asked for.
        saved: of the FLOPs of training and inference of `optimal`, the fraction that `served` saves.
    """

    optimal: Optimum
    served: Served | None = None
    saved: float = 0.0


def plan(law: Any, flops: float, inference_tokens: float = 0.0) -> Plan:
    """Return what to train for C = 6 N D FLOPs of a dense model.

    Args:
        inference_tokens: that the model will read and write, at 2 N FLOPs each.

    Raises:
        UserError: the law has no optimum at this budget.
    """
    optimal = law.optimum(flops) if hasattr(law, "optimum") else find_optimum(law.loss, flops)
    if not inference_tokens:
        return Plan(optimal)
    served = find_served_optimum(law.loss, optimal.loss, inference_tokens)
    return Plan(optimal, served, 1 - served.flops / (flops + 2 * optimal.params * inference_tokens))


def gpu_flops(gpu: str, hours: float, utilisation: float) -> float:
    """Return the FLOPs of GPU-hours at a fraction of the peak.

    Raises:
        UserError: an unknown GPU, or a utilisation that is none.
    """
    if gpu.lower() not in PEAKS:
        raise UserError(f"unknown GPU {gpu!r}{nearest(gpu, PEAKS)}")
    if not 0 < utilisation <= 1:
        raise UserError(f"--utilisation is a fraction of the peak, above 0 and at most 1, not {utilisation:g}")
    return PEAKS[gpu.lower()] * utilisation * hours * 3600


def find_law(name: str) -> Any:
    """Return a published law by name, or the law in a file that `star laws fit --json` printed.

    Raises:
        UserError: neither a name nor such a file, or a law of more than N and D.
    """
    if not name.endswith(".json"):
        if name not in PUBLISHED:
            raise UserError(
                f"unknown constants {name!r}{nearest(name, PUBLISHED)}, or give a .json of star laws fit --json"
            )
        return PUBLISHED[name]
    path = Path(name)
    with located(name), disk_errors_reported(f"read {name}"):
        if path.stat().st_size > MOST_BYTES:
            raise UserError("this is no output of star laws fit --json: it is too large")
        try:
            record = json.loads(path.read_text(encoding="utf-8"))
            kind, constants = record["law"], record["constants"]
            values = {name: float(one["value"]) for name, one in constants.items()}
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise UserError("this is no output of star laws fit --json") from error
        if kind not in DENSE:
            raise UserError(f"a plan needs a law of params and tokens alone ({', '.join(DENSE)}), not {kind!r:.40}")
        if values.keys() != LAWS[kind].kind.__dataclass_fields__.keys() or not all(one > 0 for one in values.values()):
            raise UserError(f"these are not the constants of {kind}")
        return LAWS[kind].kind(**values)
