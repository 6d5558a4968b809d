"""The settings of a run, as a person writes them on the command line or in a TOML file."""

import re
from dataclasses import dataclass

from star.architecture.genome import DECKS, LEVELS
from star.architecture.scales import BALANCES
from star.architecture.toml_table import parse_table
from star.cost.cost import DTYPE_BYTES
from star.cost.latency import DEVICES
from star.errors import SettingError, UserError
from star.families.table import FAMILIES
from star.options import (
    COSTS,
    RANKING,
    RECORD,
    SEARCH,
    SPACE,
    STOPPING,
    TRAINING,
    VERIFYING,
    WORKERS,
    check_settings,
    option,
    read_bytes,
    read_names,
    read_number,
    read_values,
    read_workers,
)
from star.search.plan import ALGORITHM_NAMES
from star.tracking.tracker import TRACKERS
from star.units import read_seconds

MODES = ("generations", "steady")
STEADY = MODES[1]
RANKINGS = ("estimate", "loss")
ESTIMATE, LOSS = RANKINGS
OWN_VOCABULARY = -1  # as vocab_size: that of the scale, whatever the tokenizer
# In a run from before there were these settings.
BEFORE = {
    "rungs": 1,
    "ranking": LOSS,
    "early_loss": False,
    "tokenizer": "bytes",
    "vocab_size": OWN_VOCABULARY,
}
OWN_DECK = re.compile(r"[0-9.,+]+/[0-9.-]+")  # the text of a genome with a deck of its own, whose commas are part of it
RATE = {"low": 0, "high": 1, "in_file_only": True}
COST = {"low": 0, "high": 1e24, "words": "no limit"}


def read_genomes(name: str, values: list[str]) -> tuple[str, ...]:
    """Return the genomes in texts of names joined by commas."""
    lists = [(value,) if OWN_DECK.fullmatch(value) else read_names(name, value) for value in values]
    return tuple(one for names in lists for one in names)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Everything that decides a search, as written: None stands for a value that follows from others, as
    `star.run.plan.plan_run` resolves it. Constructing one reads no file.

    Raises:
        SettingError: a value of the wrong type, out of bounds, or an unknown word.
    """

    population: int = option(64, "Individuals kept after each generation.", SEARCH, low=2, high=10**6)
    offspring: int | None = option(
        None,
        "New genomes per generation.",
        SEARCH,
        low=1,
        high=10**6,
        words="four times the population where ranking is by estimate with a prior, else half of it",
    )
    generations: int = option(6, "Generations of offspring after the initial population.", SEARCH, low=0, high=10**6)
    seed: int = option(
        0, "Random seed. Equal seeds give equal results, in steady mode for equal arrivals.", SEARCH, low=0
    )
    algorithm: str = option("nsga2", "Search algorithm.", SEARCH, choices=ALGORITHM_NAMES)
    adaptive: bool = option(False, "Adapt the rates of crossover and mutation to their success.", SEARCH)
    mode: str = option(
        "generations", "Schedule; in steady mode no worker waits for the end of a generation.", SEARCH, choices=MODES
    )
    slots: int | None = option(
        None, "Slots (residual layers) of a backbone.", SPACE, low=1, high=10**4, words="the scale's"
    )
    deck: str = option("paper", "Operator classes: the paper's, or with later ones.", SPACE, choices=tuple(DECKS))
    levels: str = option(
        "backbone", "Levels of the genome that evolve: the backbone, or all (operators too).", SPACE, choices=LEVELS
    )
    backbone_mutation: float = option(0.1, "Probability that an integer of the backbone mutates.", SPACE, **RATE)
    operator_mutation: float = option(0.05, "Probability that an integer of an operator mutates.", SPACE, **RATE)
    featurizer_mutation: float = option(0.05, "Probability that an integer of a featurizer mutates.", SPACE, **RATE)
    operator_crossover: float = option(0.5, "Probability that two parents exchange classes.", SPACE, **RATE)
    featurizer_crossover: float = option(0.1, "Probability that they exchange feature groups.", SPACE, **RATE)
    scale: str = option(
        "nano", "Scale that is trained: nano, micro, 125m, 1b, or a .toml file with [scale] and [recipe].", TRAINING
    )
    scale_toml: str = option("", "Text of the scale's file.", TRAINING, in_file_only=True)
    target: str | None = option(
        None,
        "Scale at which costs are priced, the backbone repeated to its depth: a scale, a model of the catalogue, or a "
        ".toml file with [scale].",
        COSTS,
        words="the trained scale",
    )
    target_toml: str = option("", "Text of the target's file.", COSTS, in_file_only=True)
    context: int | None = option(
        None,
        "Context length in tokens at which cache, memory and latency are priced.",
        COSTS,
        low=1,
        high=10**9,
        words="the target's",
    )
    dtype: str = option("bf16", "Number format of the priced weights and cache.", COSTS, choices=tuple(DTYPE_BYTES))
    batch: int = option(1, "Sequences decoded at once, each with its own cache.", COSTS, low=1, high=10**6)
    device: str = option(
        "cpu", "Device of this machine on which latency and prefill are measured.", COSTS, choices=DEVICES
    )
    max_params: float = option(
        0.0, "Reject candidates with more parameters at the target: 1e9, 8B, 350M.", COSTS, read=read_number, **COST
    )
    max_cache: float = option(
        0.0, "Reject candidates whose cache for one sequence is larger: 64MB, 64MiB.", COSTS, read=read_bytes, **COST
    )
    max_memory: float = option(
        0.0, "Reject candidates whose weights and caches together are larger: 2GB.", COSTS, read=read_bytes, **COST
    )
    max_flops: float = option(
        0.0, "Reject candidates with more forward FLOPs per token: 2G, 1.5T.", COSTS, read=read_number, **COST
    )
    constrain: str = option(
        "",
        "Reject candidates that lie outside of a family that transformers knows: llama, nemotron_h, lfm2.",
        SPACE,
        choices=("", *FAMILIES),
    )
    window: int = option(
        0, "Window of banded attention in tokens.", SPACE, low=0, words="a quarter of the scale's context"
    )
    objectives: tuple[str, ...] = option(
        ("quality", "params", "cache"),
        "Objectives to minimise, joined by commas; also memory, flops, latency, prefill, or a synthetic task.",
        SEARCH,
        read=read_names,
    )
    seed_genomes: tuple[str, ...] = option(
        (),
        "Genomes of the first generation, joined by commas: names, .toml files, genome texts, runs (their fronts) or "
        "RUN:ID. May be repeated.",
        SPACE,
        read=read_genomes,
    )
    corpus: tuple[str, ...] = option(
        ("stdlib",),
        "Text to train on: stdlib, prose, a directory, a file of text, JSON lines, Parquet or Arrow, or a URI. May be "
        "repeated; all or none with a weight, as in books/=2.",
        TRAINING,
    )
    tokenizer: str | None = option(
        None,
        "Tokenizer: bytes, bpe:N to train one of N tokens on the text, or the path of a tokenizer.json or of a "
        "SentencePiece model.",
        TRAINING,
        words="bytes, or that of a folder of star corpus build",
    )
    vocab_size: int | None = option(None, "Vocabulary of the models.", TRAINING, low=OWN_VOCABULARY, in_file_only=True)
    text_field: str = option(
        "",
        "Field or column that holds the text; a dot leads into a nested one, as in meta.body.",
        TRAINING,
        words="text, else content, else messages or conversations, which hold chats",
    )
    tokens: int | None = option(None, "Training tokens per proxy.", TRAINING, low=1, high=10**15, words="the scale's")
    proxy_seconds: float = option(
        0.0,
        "Seconds per proxy on one worker, in place of tokens: 5s, 2m. The speed is measured once, here.",
        TRAINING,
        low=0,
        read=read_seconds,
        words="tokens decide",
    )
    budget: float = option(
        0.0,
        "Wall time of about the whole search, in place of tokens: 10m, 1h30m. The speed is measured once, here.",
        TRAINING,
        low=0,
        read=read_seconds,
        words="tokens decide",
    )
    balance: str = option("bias", "Load balancing of experts.", TRAINING, choices=BALANCES, in_file_only=True)
    rungs: int | None = option(
        None,
        "Early-stopping rungs (successive halving), the full training included; 1 trains every proxy fully.",
        STOPPING,
        low=1,
        high=10,
        words="3 at nano with quality, ranking by loss and 100 steps or more, else 1",
    )
    eta: int = option(3, "Ratio of the training tokens of neighbouring rungs.", STOPPING, low=2, high=100)
    warm_weights: bool = option(False, "Start a child from its parents' weights in unchanged slots.", TRAINING)
    ranking: str | None = option(
        None,
        "What orders candidates: the loss of their proxies, or an estimate of the quality after long training.",
        RANKING,
        choices=RANKINGS,
        words="estimate where a prior of the scale fits the run, else loss",
    )
    early_loss: bool | None = option(
        None,
        "Measure each proxy after a third of its training too, as an input of the estimate.",
        RANKING,
        words="true with ranking by estimate and without rungs, else false",
        in_file_only=True,
    )
    screening: int | None = option(
        None,
        "Train one candidate in so many, at least two a generation: the best by an estimate from costs and operators.",
        RANKING,
        low=1,
        high=1000,
        words="64 with a prior, else 8",
    )
    longer_share: float = option(
        0.3,
        "Largest share of the training tokens that goes into longer trainings, to which the estimate is fitted.",
        RANKING,
        low=0,
        high=1,
    )
    verify_tokens: int | None = option(
        None,
        "Verify the front: train it and named baselines on so many tokens, at least a proxy's; 0 for no verification.",
        VERIFYING,
        low=0,
        high=10**15,
        words="0 for star evolve with ranking by loss, else four times the tokens of a proxy",
    )
    verify_seeds: int | None = option(
        None,
        "Seeds for each architecture in the closest calls of the verification.",
        VERIFYING,
        low=1,
        high=100,
        words="1 where a prior tells the noise between seeds, else 3",
    )
    workers: int = option(
        0, "Proxies trained at once, or auto for one per core.", WORKERS, low=0, read=read_workers, words="auto"
    )
    address: str = option(
        "", "Ray cluster to join: auto, HOST:PORT or ray://HOST:PORT.", WORKERS, words="a private one on this machine"
    )
    serial: bool = option(False, "Train in this process, without Ray.", WORKERS)
    timeout: float | None = option(
        None,
        "Seconds that one proxy may take, longer trainings in proportion; 0 for no limit.",
        WORKERS,
        low=0,
        words="600, or a hundredth of its tokens if that is more",
    )
    tries: int = option(3, "Attempts per proxy if its worker dies.", WORKERS, low=1, high=100)
    worker_memory: float = option(
        0.0, "Memory of one worker: 4GB.", WORKERS, low=0, read=read_bytes, words="an equal share of its machine"
    )
    gpus_per_worker: float = option(
        0.0, "GPUs per worker; 0.25 lets four workers share one.", WORKERS, low=0, words="none: train on the CPU"
    )
    track: tuple[str, ...] = option(
        (), "Trackers of the scalars of each generation, joined by commas.", WORKERS, read=read_names, choices=TRACKERS
    )
    store: str = option(".star", "Directory of evaluations that runs share; '' for none.", WORKERS)

    def __post_init__(self) -> None:
        check_settings(self)
        for name in ("objectives", "corpus"):
            values = getattr(self, name)
            if not values or len(set(values)) < len(values):
                raise SettingError(name, f"must name at least one thing and none twice, not {list(values)}")
        if self.serial and self.address:
            raise SettingError("serial", "trains in this process, address on a cluster: give one of the two")
        if self.serial and self.gpus_per_worker:
            raise SettingError("serial", "trains in this process, on the CPU: gpus_per_worker is for workers")
        if self.gpus_per_worker > 1 and self.gpus_per_worker % 1:
            # Ray gives shares of one GPU, or whole ones.
            raise SettingError("gpus_per_worker", f"must be whole above 1, not {self.gpus_per_worker:g}")
        if self.adaptive and self.algorithm == "random":
            raise UserError("random search has no operators whose rates could be adaptive")


def from_toml(text: str) -> Settings:
    """Read settings from TOML. Keys left out keep their defaults; the record of a run.toml is not read.

    Raises:
        UserError: not TOML, an unknown key (with the nearest right one), or what Settings refuses.
    """
    values = parse_table(text, "the configuration")
    if values.pop(RECORD, None):
        values = BEFORE | values
    return Settings(**read_values(Settings, values, " in the configuration"))
