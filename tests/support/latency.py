"""Measuring that takes no time: latencies that follow from the part and the setting, and a record of what was asked."""

import random
from dataclasses import dataclass, field

from star.cost.latency import Part
from star.cost.target import Target
from star.records import Latency


@dataclass
class Invented:
    """In place of `measure_part`: the same for one part at one setting, times a factor; less for features taken."""

    factor: float = 1.0
    is_disturbed: bool = False
    asked: list[str] = field(default_factory=list)  # keys, in order

    def __call__(self, part: Part, setting: Target, machine) -> Latency:
        self.asked.append(part.key)
        rng = random.Random(f"{part.liv and part.liv.name} {setting.context} {setting.batch} {setting.num_slots}")
        share = self.factor * 0.9 ** len(part.taken)
        return Latency(
            prefill_ms=share * (1 + rng.random()), decode_ms=share * rng.random(), is_disturbed=self.is_disturbed
        )


def refuse(part: Part, setting: Target, machine) -> Latency:
    """In place of `measure_part` where nothing is to be measured."""
    raise AssertionError(f"{part.name} is measured again")
