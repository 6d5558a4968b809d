"""Measures the operators of architectures that nobody has measured yet."""

from collections.abc import Callable, Iterable

from star.cost.latency import LatencyTable, Part
from star.cost.target import Target
from star.evaluation.fingerprint import describe_machine, name_machine
from star.records import Genome, Latency, Measured
from star.run.latencies import read_latencies
from star.run.plan import RunPlan
from star.storage.latencies import LatencyStore
from star.storage.run_directory import RunDirectory
from star.training.latency import Machine, find_machine, measure_part

Measure = Callable[[Part, Target, Machine], Latency]


class Measurer:
    """Completes a table of latencies: from the store, or by measuring on this machine.

    Args:
        table: what is known.
        device: of torch, to measure on.
        store: the directory where measurements are kept; empty for none.
        note: receives a sentence before something is measured, and about files that cannot be used.
        record: is called when the table has new rows.
        measure: measures one part.
    """

    def __init__(
        self,
        table: LatencyTable,
        device: str,
        store: str,
        note: Callable[[str], None],
        record: Callable[[], None] | None = None,
        measure: Measure | None = None,
    ) -> None:
        self.table = table
        self._device, self._note, self._record = device, note, record
        self._store = LatencyStore(store, note) if store else None
        self._measure = measure or measure_part  # looked up here, so that tests can replace it

    def complete(self, genomes: Iterable[Genome]) -> None:
        """Give the table every part of these genomes that it lacks.

        Raises:
            UserError: there is no such device, or too little memory.
        """
        missing = self.table.missing(genomes)
        if not missing:
            return
        setting, rows = self.table.setting, self.table.rows
        machine = find_machine(self._device, setting.dtype_bytes)
        text = describe_machine(machine)
        known = self._store.find(setting, text) if self._store else {}
        self._tell([part for part in missing if part.key not in known], text)
        try:
            for part in missing:
                rows[part.key] = known.get(part.key) or self._measured(part, machine, text)
        finally:
            if self._record:
                self._record()
        if any(rows[part.key].latency.is_disturbed for part in missing):
            self._note("other processes kept the machine busy: latencies may be too large, and are not stored")

    def _measured(self, part: Part, machine: Machine, text: str) -> Measured:
        setting = self.table.setting
        row = Measured(part.name, text, self._measure(part, setting, machine))
        if self._store and not row.latency.is_disturbed:  # at once, so that what is killed has not measured in vain
            self._store.keep({part.key: row}, setting, text)
        return row

    def _tell(self, parts: list[Part], text: str) -> None:
        if not parts:
            return
        what = f"{len(parts)} parts of models" if len(parts) > 1 else parts[0].name
        sentence = f"measuring the latency of {what} on {name_machine(text)}"
        if any(one.machine != text for one in self.table.rows.values()):
            sentence += "; those before were measured on another machine or by another version"
        self._note(sentence)


def open_measurer(plan: RunPlan, run: RunDirectory, note: Callable[[str], None]) -> Measurer | None:
    """Return what measures the latencies of a run, beginning with those that it has recorded; None if it minimises
    none.
    """
    if not plan.minimises_latency:
        return None
    table = read_latencies(plan, run)

    def record() -> None:
        run.write_latencies(table.rows, table.setting)

    return Measurer(table, plan.settings.device, plan.settings.store, note, record)
