"""Generations and evaluations as sealed Parquet files, and back; every value that is read is checked.

One row an individual or an evaluation, one float64 column an objective (null where it has none); what belongs
to the whole generation is JSON in the file's metadata.
"""

import json
import math
import re
from collections.abc import Callable, Sequence
from dataclasses import fields
from typing import Any, TypeVar

import pyarrow as pa

from star.architecture.genome import check
from star.errors import UserError
from star.records import Evaluation, Generation, Genome, Individual, Order, Recorded, ReferenceBox, Status, Task
from star.storage.files import Torn
from star.storage.sealed_table import UNREADABLE, SealedTable, pack_table

SCHEMA_VERSION = 5
ESTIMATED_VERSION = 6  # of generations whose qualities are estimated; the others keep their bytes
# Columns and facts that older versions do not have, and what their rows stand for.
SINCE_5 = {"shortfall": 0.0, "survives": True, "on_front": None, "rungs": [], "tokens": 0, "retries": "{}"}
SINCE_5 |= {"arrival": 0, "asked": 0, "entry": 0}
SINCE_6 = {"quality_error": 0.0, "longer": 0, "estimated": 0, "fit": []}
LACKING: dict[int, dict[str, Any]] = {
    4: SINCE_5 | SINCE_6,
    SCHEMA_VERSION: SINCE_6,
    ESTIMATED_VERSION: {},
}  # by version
HASH = re.compile(r"[0-9a-f]{16}")

INDIVIDUAL_COLUMNS = pa.schema(
    [
        ("id", pa.int64()),
        ("genome", pa.list_(pa.int32())),
        ("hash", pa.string()),
        ("generation", pa.int64()),
        ("parents", pa.list_(pa.int64())),
        ("status", pa.string()),
        ("rank", pa.int64()),
        ("crowding", pa.float64()),
        ("shortfall", pa.float64()),
        ("quality_error", pa.float64()),
        ("survives", pa.bool_()),  # in the population
        ("on_front", pa.bool_()),
    ]
)
EVALUATION_COLUMNS = pa.schema(
    [
        ("hash", pa.string()),
        ("genome", pa.list_(pa.int32())),
        ("seed", pa.uint64()),
        ("status", pa.string()),
        ("generation", pa.int64()),
        ("loss_curve", pa.list_(pa.float64())),
        ("rungs", pa.list_(pa.float64())),
        ("tokens", pa.int64()),
        ("train_seconds", pa.float64()),
        ("seconds", pa.float64()),
        ("worker", pa.string()),
        ("error", pa.string()),
        ("retries", pa.string()),  # JSON
        ("arrival", pa.int64()),
        ("asked", pa.int64()),
        ("entry", pa.int64()),
    ]
)
INDIVIDUAL_FIELDS = INDIVIDUAL_COLUMNS.names[:-2]
GENERATION_FACTS = tuple(one.name for one in fields(Generation) if one.name not in ("individuals", "front"))
ORDER_FIELDS = tuple(one.name for one in fields(Order))
EVALUATION_FIELDS = tuple(one.name for one in fields(Evaluation) if one.name not in ("objectives", "retries"))

Record = TypeVar("Record")
Row = dict[str, Any]


def pack_generation(generation: Generation) -> bytes:
    """Return the file of a generation; equal generations give equal bytes."""
    assert _is_generation(generation), generation
    front = {one.id for one in generation.front}
    survivors = {one.id for one in generation.individuals}
    former = [one for one in generation.front if one.id not in survivors]
    rows = [
        {name: getattr(one, name) for name in INDIVIDUAL_FIELDS}
        | {"survives": one.id in survivors, "on_front": one.id in front}
        | one.objectives
        for one in (*generation.individuals, *former)
    ]
    objectives = {name for row in (*generation.individuals, *former) for name in row.objectives}
    facts = {name: getattr(generation, name) for name in GENERATION_FACTS}
    if generation.longer or generation.estimated:
        return _pack(rows, INDIVIDUAL_COLUMNS, objectives, facts, ESTIMATED_VERSION)
    facts = {name: value for name, value in facts.items() if name not in SINCE_6}
    columns = pa.schema([column for column in INDIVIDUAL_COLUMNS if column.name not in SINCE_6])
    return _pack(rows, columns, objectives, facts)


def unpack_generation(data: bytes) -> Generation:
    """Return the generation in `data`. Raise Torn if it was not written so, UserError if another schema wrote it."""
    return _unpack(data, INDIVIDUAL_COLUMNS, _generation)


def pack_evaluations(entries: Sequence[Recorded]) -> bytes:
    """Return the file of these evaluations, in their order."""
    rows: list[Row] = []
    for task, evaluation, order in entries:
        assert _is_entry(task, evaluation, order), (task, evaluation, order)
        row = {name: getattr(evaluation, name) for name in EVALUATION_FIELDS}
        row |= {name: getattr(order, name) for name in ORDER_FIELDS}
        retries = json.dumps(evaluation.retries, sort_keys=True)
        rows.append(row | {"genome": task.genome, "seed": task.seed, "retries": retries} | evaluation.objectives)
    objectives = {name for _, evaluation, _ in entries for name in evaluation.objectives}
    return _pack(rows, EVALUATION_COLUMNS, objectives, {})


def unpack_evaluations(data: bytes) -> list[Recorded]:
    """Return the evaluations in `data`; errors as in `unpack_generation`."""
    return _unpack(data, EVALUATION_COLUMNS, _entries)


def clear_arrivals(entries: Sequence[Recorded], first: int) -> list[Recorded]:
    """Return the entries with order, arrival and number of asks cleared where the arrival is not below `first`."""
    return [
        one if 0 < one.order.arrival < first else one._replace(order=Order(generation=one.order.generation))
        for one in entries
    ]


def _pack(
    rows: list[Row], columns: pa.Schema, objectives: set[str], facts: Row, version: int = SCHEMA_VERSION
) -> bytes:
    names = sorted(objectives)
    assert not objectives & set(columns.names), names
    schema = pa.schema([*columns, *((name, pa.float64()) for name in names)])
    metadata = {"schema_version": version, "objectives": names} | facts
    return pack_table(rows, schema, metadata)


def _unpack(data: bytes, columns: pa.Schema, build: Callable[[list[Row], Row], Record]) -> Record:
    table = SealedTable(data)
    facts = table.facts
    if "schema_version" not in facts:
        raise Torn("it has no schema version")
    version = facts["schema_version"]
    if version not in LACKING:
        raise UserError(f"it has schema version {version}, but this star reads versions up to {ESTIMATED_VERSION}")
    try:
        since = LACKING[version]
        written = pa.schema([column for column in columns if column.name not in since])
        rows = _rows(table, written, facts["objectives"])
        own = {name: value for name, value in since.items() if name in columns.names}
        return build([own | row for row in rows], since | facts)
    except UNREADABLE as error:
        raise Torn(f"it holds what no run writes: {error!r}") from error


def _rows(table: SealedTable, columns: pa.Schema, objectives: list[str]) -> list[Row]:
    rows = table.rows(pa.schema([*columns, *((name, pa.float64()) for name in objectives)]))
    for row in rows:
        values = {name: row.pop(name) for name in objectives}
        if None in row.values():
            raise ValueError("a missing value")
        row["objectives"] = {name: value for name, value in values.items() if value is not None}
        row["status"] = Status(row["status"])
        row["genome"] = tuple(row["genome"])
    return rows


def _generation(rows: list[Row], facts: Row) -> Generation:
    individuals, front = [], []
    for row in rows:
        row["parents"] = tuple(row["parents"])
        survives, on_front = row.pop("survives"), row.pop("on_front")
        one = Individual(**row)
        on_front = one.rank == 0 and one.status is Status.OK if on_front is None else on_front
        individuals += [one] * survives
        front += [one] * on_front
    front.sort(key=lambda one: one.id)
    facts["fit"] = tuple(facts["fit"])
    if facts["reference"] is not None:
        facts["reference"] = ReferenceBox(*map(tuple, facts["reference"]))
    own = {name: facts[name] for name in GENERATION_FACTS}
    generation = Generation(individuals=tuple(individuals), front=tuple(front), **own)
    if not _is_generation(generation):
        raise ValueError("values out of range")
    return generation


def _entries(rows: list[Row], facts: Row) -> list[Recorded]:
    entries = []
    for row in rows:
        task = Task(genome=row.pop("genome"), hash=row["hash"], seed=row.pop("seed"))
        row |= {name: tuple(row[name]) for name in ("loss_curve", "rungs")} | {"retries": json.loads(row["retries"])}
        order = Order(**{name: row.pop(name) for name in ORDER_FIELDS})
        entries.append(Recorded(task, Evaluation(**row), order))
    if not all(_is_entry(*entry) for entry in entries):
        raise ValueError("values out of range")
    return entries


def _is_generation(generation: Generation) -> bool:
    ids = [individual.id for individual in generation.individuals]
    counts = ("number", "next_id", "evaluations", "duplicates_avoided", "repaired", "turned_away", "tokens", "longer")
    return (
        all(_is_count(getattr(generation, name)) for name in (*counts, "estimated"))
        and all(isinstance(value, float | int) for stage in generation.fit for value in stage.values())
        and all(name in set(Status) and _is_count(count) for name, count in generation.failures.items())
        and isinstance(generation.hypervolume, float | int)
        and _is_reference(generation.reference)
        and isinstance(json.loads(generation.rng_state), dict)
        and len(set(ids)) == len(ids)
        and max(ids, default=-1) < generation.next_id
        and all(_is_individual(one, generation.number) for one in (*generation.individuals, *generation.front))
        # Individuals that were screened out may rank before the front, by their estimates.
        and all((one.rank == 0 or generation.estimated) and one.status is Status.OK for one in generation.front)
    )


def _is_reference(reference: ReferenceBox | None) -> bool:
    if reference is None:
        return True
    values = (*reference.point, *reference.unit)
    return len(reference.point) == len(reference.unit) and all(isinstance(value, float | int) for value in values)


def _is_individual(individual: Individual, number: int) -> bool:
    return (
        _is_genome(individual.genome, individual.hash)
        and 0 <= individual.generation <= number
        and all(0 <= parent < individual.id for parent in individual.parents)
        and individual.id >= 0
        and individual.rank >= 0
        and individual.crowding >= 0
        and individual.shortfall >= 0
        and individual.quality_error >= 0
    )


def _is_entry(task: Task, evaluation: Evaluation, order: Order) -> bool:
    return (
        task.hash == evaluation.hash
        and _is_genome(task.genome, task.hash)
        and all(isinstance(value, float | int) for value in (*evaluation.loss_curve, *evaluation.rungs))
        and all(isinstance(cause, str) and _is_count(times) for cause, times in evaluation.retries.items())
        and all(map(_is_count, (evaluation.tokens, *(getattr(order, name) for name in ORDER_FIELDS))))
        and math.isfinite(evaluation.seconds)
        and math.isfinite(evaluation.train_seconds)
    )


def _is_genome(genome: Genome, hash: str) -> bool:
    try:
        check(genome)
    except UserError:
        return False
    return HASH.fullmatch(hash) is not None


def _is_count(value: object) -> bool:
    return isinstance(value, int) and value >= 0
