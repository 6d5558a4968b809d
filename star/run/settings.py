"""A run's whole configuration: one frozen dataclass, read strictly from TOML and written back to it."""

import json
import math
import tomllib
from dataclasses import dataclass, fields, replace
from functools import lru_cache
from types import NoneType, UnionType
from typing import Any, get_args, get_origin

from star.architecture.catalogue import find_scale, read_scale, scale_text
from star.architecture.scales import SCALES, Recipe, Scale
from star.cost.cost import DTYPE_BYTES
from star.cost.limits import LIMITS, read_limit
from star.data.synthetic import ALL_OF_MAD, TASKS
from star.errors import UserError, nearest

RECORD = "record"  # the table of run.toml that tells what a run was made with: no setting
_SLOWEST = 100  # tokens per second; a proxy that is slower is taken for hung
_RACED = 100  # training steps; of a shorter proxy the first of three rungs comes after some ten steps or fewer
_LOWEST = {"population": 2, "offspring": 1, "generations": 0, "seed": 0, "slots": 1, "context": 1, "tokens": 1}
_LOWEST |= {"workers": 0, "timeout": 0, "window": 0, "batch": 1} | dict.fromkeys(LIMITS, 0)
_LOWEST |= {"rungs": 1, "eta": 2, "tries": 1, "gpus_per_worker": 0, "worker_memory": 0}
_HIGHEST = {"population": 10**6, "offspring": 10**6, "generations": 10**6, "rungs": 10, "eta": 100, "tries": 100}
_HIGHEST |= {"slots": 10**4, "context": 10**9, "tokens": 10**15, "batch": 10**6} | dict.fromkeys(LIMITS, 1e24)
_RATES = ("backbone_mutation", "operator_mutation", "featurizer_mutation", "operator_crossover", "featurizer_crossover")
# Their meaning is known to higher rooms: that of decks and levels to genome, of balances to training, of
# algorithms to star.search.
_WORDS = {
    "dtype": DTYPE_BYTES,
    "deck": ("paper", "extended"),
    "levels": ("backbone", "all"),
    "algorithm": ("nsga2", "nsga3", "random", "regularised", "ga"),
    "mode": ("generations", "steady"),
    "balance": ("bias", "loss"),
}
_KINDS = {int: "a whole number", float: "a number", str: "a text", bool: "true or false", tuple: "a list of texts"}


@dataclass(frozen=True, slots=True, kw_only=True)
class RunConfig:
    """Everything that decides a search. None stands for a value that follows from the scale: see `resolved`.

    The last fields, from `workers` on, say where proxies are trained, not what comes out; `star resume` may change
    some of them.

    Raises:
        UserError: a value of the wrong type or out of range, an unknown name, a budget that cannot be met.
    """

    population: int = 64
    offspring: int | None = None  # new genomes per generation; half the population if None
    generations: int = 6  # rounds of offspring after the initial population
    seed: int = 0
    algorithm: str = "nsga2"  # how genomes are chosen and bred
    adaptive: bool = False  # let operator rates follow what they achieve
    mode: str = "generations"  # "steady": without a barrier between generations, in order of arrival
    slots: int | None = None  # residual layers of a backbone; the scale's if None
    deck: str = "paper"  # what operator classes there are: "paper" or "extended"
    levels: str = "backbone"  # of the genome that evolve; "all": operators and featurizers too
    backbone_mutation: float = 0.1  # probability of change of one integer of that level
    operator_mutation: float = 0.05
    featurizer_mutation: float = 0.05
    operator_crossover: float = 0.5  # probability that two parents exchange classes at all
    featurizer_crossover: float = 0.1  # ... that they exchange feature groups
    scale: str = "nano"  # what is trained
    target: str | None = None  # the scale at which costs are counted, by name or file; `scale` if None
    target_toml: str = ""  # the target's file as the run found it; empty if the target is a named scale
    context: int | None = None  # tokens held in the counted cache; the target's seq_len if None
    dtype: str = "bf16"  # of counted weights and caches
    batch: int = 1  # sequences decoded side by side, each with a cache, in the counted memory
    max_params: float = 0.0  # highest cost of what may be trained, counted at the target; 0: no limit
    max_cache: float = 0.0  # bytes of one sequence
    max_memory: float = 0.0  # bytes of weights and all caches
    max_flops: float = 0.0  # of a forward pass, for each token
    window: int = 0  # tokens that banded attention looks at; 0: a quarter of the scale's seq_len
    objectives: tuple[str, ...] = ("quality", "params", "cache")
    seed_genomes: tuple[str, ...] = ()  # that enter the first generation, before random ones
    corpus: tuple[str, ...] = ("stdlib",)
    tokens: int | None = None  # that one proxy trains on; the scale's if None
    balance: str = "bias"  # of experts: "bias" of their selection, or "loss": an auxiliary loss
    rungs: int | None = None  # of the race inside a generation, the full training the last; the scale's if None
    eta: int = 3  # ratio of the tokens of neighbouring rungs
    warm_weights: bool = False  # begin a child with its parent's weights where slots did not change
    workers: int = 0  # 0: one per core
    address: str = ""  # of a Ray cluster to join; a private one on this machine if empty
    serial: bool = False  # train in this process, one proxy after the other, without Ray
    timeout: float | None = None  # seconds that one proxy may take; 0: no limit
    tries: int = 3  # at a proxy whose worker dies, before it is given up
    worker_memory: float = 0.0  # bytes that one worker may use; 0: an equal share of its machine
    gpus_per_worker: float = 0.0  # of a cluster; 0: proxies are trained on the CPU
    store: str = ".star"  # the directory of evaluations that runs share; empty: none

    def __post_init__(self) -> None:
        for field in fields(self):
            _check_type(field.name, getattr(self, field.name), field.type)
        for name, lowest in _LOWEST.items():
            value = getattr(self, name)
            if value == math.inf:
                raise UserError(f"{name} must be finite, not {value}")
            if value is not None and not lowest <= value:
                raise UserError(f"{name} must be at least {lowest}, not {value}")
            if value is not None and value > _HIGHEST.get(name, value):
                raise UserError(f"{name} must be at most {_HIGHEST[name]}, not {value!s:.40}")
        for name in _RATES:
            if not 0 <= getattr(self, name) <= 1:
                raise UserError(f"{name} must lie between 0 and 1, not {getattr(self, name)}")
        for name, known in _WORDS.items():
            if (word := getattr(self, name)) not in known:
                raise UserError(f"unknown {name} {word!r}{nearest(word, known)}")
        for name in ("objectives", "corpus"):
            values = getattr(self, name)
            if not values or len(set(values)) < len(values):
                raise UserError(f"{name} must name at least one thing and none twice, not {list(values)}")
        if self.serial and self.address:
            raise UserError("serial trains in this process, address on a cluster: give one of the two")
        if self.serial and self.gpus_per_worker:
            raise UserError("serial trains in this process, on the CPU: gpus_per_worker is for workers")
        if self.gpus_per_worker > 1 and self.gpus_per_worker % 1:
            # Ray gives shares of one GPU, or whole ones.
            raise UserError(f"gpus_per_worker must be whole above 1, not {self.gpus_per_worker:g}")
        self._check_sizes()

    def _check_sizes(self) -> None:
        scale, target = find_scale(self.scale), find_target(self)
        recipe = scale.recipe
        if recipe is None:
            named = ", ".join(name for name, one in SCALES.items() if one.recipe)
            raise UserError(
                f"scale {self.scale!r} has no recipe: costs can be counted at it, as the target, but nothing can be "
                f"trained; scales to train at are {named}"
            )
        for one in (scale, target):
            if self.window > one.dims.seq_len:
                longest = f"{one.dims.seq_len}, the length of scale {one.name}"
                raise UserError(f"window must be at most {longest}, not {self.window}")
        if target.dims.style.positions == "learned" and (self.context or 0) > target.dims.seq_len:
            raise UserError(
                f"context must be at most {target.dims.seq_len}, the learned positions of target {target.name}, not "
                f"{self.context}"
            )
        step = recipe.batch_size * recipe.seq_len
        if self.tokens is not None and self.tokens < step:
            raise UserError(f"tokens {self.tokens} is less than one training step of scale {self.scale}, {step}")
        self._check_race()

    def _check_race(self) -> None:
        if self.adaptive and self.algorithm == "random":
            raise UserError("random search has no operators whose rates could be adaptive")
        if self.rungs in (None, 1):
            return
        if "quality" not in self.objectives:
            raise UserError("rungs needs quality among the objectives, because it decides a race; rungs 1 is no race")
        for name in self._tasks():
            raise UserError(
                f"objective {name} has no rungs: synthetic tasks are trained to the end; rungs 1 is no race"
            )
        steps, needed = self.recipe.steps, self.eta ** (self.rungs - 1)
        if steps < needed:
            raise UserError(f"{self.rungs} rungs of ratio {self.eta} need {needed} training steps; a proxy has {steps}")

    @property
    def recipe(self) -> Recipe:
        """The scale's, with the tokens and the balance of this run."""
        recipe = find_scale(self.scale).recipe
        return replace(recipe, tokens=self.tokens or recipe.tokens, balance=self.balance)

    def _tasks(self) -> list[str]:
        """The synthetic tasks among the objectives."""
        return [name for name in self.objectives if name in TASKS or name == ALL_OF_MAD]

    @property
    def limits(self) -> dict[str, float]:
        """The limits that are set, by key."""
        return {name: getattr(self, name) for name in LIMITS if getattr(self, name)}

    def resolved(self) -> "RunConfig":
        """The same run with every None replaced by the value that it stands for, and the text of the target's file."""
        scale, target_toml = find_scale(self.scale), self.target_toml or _read_target(self.target)
        target = _parse_scale(self.target, target_toml) if target_toml else find_scale(self.target or self.scale)
        can_race = "quality" in self.objectives and not self._tasks() and self.recipe.steps >= _RACED
        return replace(
            self,
            offspring=max(1, self.population // 2) if self.offspring is None else self.offspring,
            slots=scale.num_slots if self.slots is None else self.slots,
            target=self.target or self.scale,
            target_toml=target_toml,
            context=target.dims.seq_len if self.context is None else self.context,
            tokens=self.recipe.tokens,
            rungs=self.rungs or (scale.rungs if can_race else 1),
            timeout=max(600.0, self.recipe.tokens / _SLOWEST) if self.timeout is None else self.timeout,
        )


def find_target(config: RunConfig) -> Scale:
    if not config.target_toml:
        return find_scale(config.target or config.scale)
    if config.target is None or config.target in SCALES:
        raise UserError(f"target_toml is the text of a target's file, but target is {config.target or 'not given'}")
    return _parse_scale(config.target, config.target_toml)


@lru_cache(maxsize=16)
def _parse_scale(name: str, text: str) -> Scale:
    return read_scale(text, name)


def _read_target(name: str | None) -> str:
    """The text of the target's file; empty for a named scale."""
    return "" if name is None or name in SCALES else scale_text(name)


def from_toml(text: str) -> RunConfig:
    """Read a configuration; keys left out keep their defaults, and the record of a run.toml is passed over.

    Raises:
        UserError: not TOML, an unknown key (with the nearest right one), or what RunConfig refuses.
    """
    values = _read(text)
    if values.pop(RECORD, None):
        values.setdefault("rungs", 1)  # a run from before there were races
    known = {field.name for field in fields(RunConfig)}
    for key, value in values.items():
        if key not in known:
            raise UserError(f"unknown key {key!r} in the configuration{nearest(key, known)}")
        if isinstance(value, list):
            values[key] = tuple(value)
        if key in LIMITS and isinstance(value, str):
            values[key] = read_limit(key, value)
    return RunConfig(**values)


def read_record(text: str) -> dict[str, str]:
    """The record of a run.toml: versions of the libraries and the digest of the corpus, by name."""
    record = _read(text).get(RECORD, {})
    if not isinstance(record, dict):
        raise UserError(f"{RECORD} must be a table, not {record!r}")
    return {key: str(value) for key, value in record.items()}


def to_toml(config: RunConfig, record: dict[str, str] | None = None) -> str:
    """The text that `from_toml` reads back to an equal configuration; `record` becomes its last table."""
    values = {field.name: getattr(config, field.name) for field in fields(config)}
    lines = [f"{key} = {_literal(value)}" for key, value in values.items() if value is not None]
    if record:
        lines += ["", f"[{RECORD}]", *(f"{key} = {_literal(value)}" for key, value in record.items())]
    return "\n".join(lines) + "\n"


def _read(text: str, name: str = "the configuration") -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # ValueError: also a number of too many digits
        raise UserError(f"{name} is not TOML: {error}") from error


def _literal(value: int | float | str | bool | tuple[str, ...]) -> str:
    if isinstance(value, tuple):
        return f"[{', '.join(map(_literal, value))}]"
    if isinstance(value, str) and "\n" in value and "'" not in value and value.replace("\n", "").isprintable():
        return f"'''\n{value}'''"  # the file of a target, as a person wrote it
    # JSON and TOML write booleans, numbers and strings alike, but for DEL, which JSON leaves bare.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def _check_type(name: str, value: object, annotation: Any) -> None:
    kinds = get_args(annotation) if isinstance(annotation, UnionType) else (annotation,)
    allowed = tuple(get_origin(kind) or kind for kind in kinds)
    is_bool = isinstance(value, bool)
    matches = is_bool and bool in allowed or not is_bool and isinstance(value, allowed)
    if isinstance(value, int) and not is_bool and float in allowed:
        matches = True
    if isinstance(value, tuple):
        matches = matches and all(isinstance(item, str) for item in value)
    if not matches:
        kind = _KINDS[next(kind for kind in allowed if kind is not NoneType)]
        raise UserError(f"{name} must be {kind}, not {list(value) if isinstance(value, tuple) else value!r}")
