"""The latency of an architecture on this machine, slot by slot."""

from dataclasses import dataclass
from typing import Annotated

import typer

from star.cli.console import note
from star.cli.find import Found
from star.cost.latency import DEVICES, FRAME, LatencyTable
from star.cost.target import Target
from star.errors import UserError, nearest
from star.records import Latency
from star.run.settings import Settings

WithLatency = Annotated[
    bool,
    typer.Option("--latency", help="Show the latency of each slot, measured on this machine and kept in .star."),
]
Device = Annotated[str, typer.Option(help=f"Device on which --latency measures: {' or '.join(DEVICES)}.")]


@dataclass(frozen=True, slots=True)
class Latencies:
    """The latency of each slot, of what is around them, and of the whole; and the name of what measured them."""

    slots: list[Latency]
    frame: Latency
    total: Latency
    machine: str

    def describe(self, context: int) -> str:
        """Return the total in a sentence."""
        return (
            f"{self.total.prefill_ms:.4g} ms to read {context:,} tokens, {self.total.decode_ms:.4g} ms to decode the "
            f"last of them on {self.machine}; {self.frame.prefill_ms:.4g} and {self.frame.decode_ms:.4g} ms of these "
            "for embedding and head"
        )

    def layer_as_json(self, slot: int) -> dict[str, object]:
        """Return the latency of a slot as JSON has it."""
        return {"prefill_ms": self.slots[slot].prefill_ms, "decode_ms": self.slots[slot].decode_ms}

    def as_json(self) -> dict[str, object]:
        """Return the totals as JSON has them."""
        return {
            "prefill_ms": self.total.prefill_ms,
            "decode_ms": self.total.decode_ms,
            "frame_prefill_ms": self.frame.prefill_ms,
            "frame_decode_ms": self.frame.decode_ms,
            "machine": self.machine,
        }


def find_latencies(found: Found, device: str) -> Latencies:
    """Return the latencies of an architecture: from the store, or measured now.

    Raises:
        UserError: there is no such device, too little memory, or the model has no position so late.
    """
    if device not in DEVICES:
        raise UserError(f"unknown device {device!r}{nearest(device, DEVICES)}")
    dims = found.scale.dims
    if dims.style.positions == "learned" and found.context > dims.seq_len:
        raise UserError(f"latency at {found.context:,} tokens: learned positions end at {dims.seq_len:,}")
    target = Target(dims=dims, context=found.context, dtype_bytes=found.dtype_bytes, batch=found.batch)
    table = LatencyTable(target, found.scale.num_slots)

    from star.evaluation.fingerprint import name_machine  # which load torch
    from star.run.measurer import Measurer

    Measurer(table, device, Settings().store, lambda sentence: note(f"note: {sentence}")).complete([found.genome])
    frame = table.rows[FRAME.key]
    return Latencies(table.itemise(found.genome), frame.latency, table.total(found.genome), name_machine(frame.machine))
