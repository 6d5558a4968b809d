"""The settings of one training, as a person writes them."""

from dataclasses import dataclass

from star.architecture.scales import BALANCES, OPTIMIZERS
from star.architecture.toml_table import parse_table
from star.options import (
    CHECKPOINTS,
    COMPUTING,
    MODEL,
    OPTIMIZATION,
    RECORD,
    check_settings,
    option,
    read_names,
    read_number,
    read_number_or_zero,
    read_values,
)
from star.tracking.tracker import TRACKERS

SCHEDULES = ("constant", "cosine")
CONSTANT = SCHEDULES[0]
DTYPES = ("float32", "bfloat16")
DEVICES = ("auto", "cpu", "cuda")
# What may differ when a training goes on: it changes where and how fast it is computed, and rounding at most.
COMPUTED = ("micro_batch", "recompute", "compile", "device", "threads", "peak_flops", "keep", "track")


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainSettings:
    """Everything that decides a training, as written: None stands for a value that follows from others, as
    `star.trainer.plan.plan_training` resolves it.

    Raises:
        SettingError: a value of the wrong type, out of bounds, or an unknown word.
    """

    genome: str = option("", "Text of the genome.", MODEL, in_file_only=True)
    scale: str = option(
        "nano", "Sizes of the model: nano, micro, 125m, 1b, a published model, or a .toml file with [scale].", MODEL
    )
    scale_toml: str = option("", "Text of the scale's file.", MODEL, in_file_only=True)
    window: int = option(
        0, "Window of banded attention in tokens.", MODEL, low=0, high=10**7, words="a quarter of the scale's context"
    )
    tokens: float | None = option(
        None,
        "Tokens to train on: 2M, 1e9.",
        OPTIMIZATION,
        read=read_number,
        low=1,
        high=1e15,
        words="those of the scale",
    )
    corpus: tuple[str, ...] = option(
        ("stdlib",),
        "Text to train on: stdlib, prose, a directory, a file of text, JSON lines, Parquet or Arrow, a URI, or a "
        "folder or shards of tokens. May be repeated; all or none with a weight, as in books/=2.",
        MODEL,
    )
    tokenizer: str = option(
        "",
        "Tokenizer: bytes, bpe:N to train one of N tokens on the text, or the path of a tokenizer.json or of a "
        "SentencePiece model.",
        MODEL,
        words="bytes, or that of a folder of star corpus build",
    )
    text_field: str = option(
        "",
        "Field or column that holds the text; a dot leads into a nested one, as in meta.body.",
        MODEL,
        words="text, else content, else messages or conversations, which hold chats",
    )
    batch_size: int | None = option(
        None, "Sequences of one training step.", OPTIMIZATION, low=1, high=10**6, words="that of the scale"
    )
    seq_len: int | None = option(
        None, "Tokens of one sequence.", OPTIMIZATION, low=1, high=10**7, words="that of the scale's recipe"
    )
    optimizer: str | None = option(
        None,
        "Optimizer: AdamW, or Muon for matrices and AdamW for the rest.",
        OPTIMIZATION,
        choices=OPTIMIZERS,
        words="that of the scale",
    )
    learning_rate: float | None = option(
        None, "Peak learning rate of AdamW.", OPTIMIZATION, low=0, high=10, words="that of the scale"
    )
    matrix_learning_rate: float | None = option(
        None, "Peak learning rate of Muon.", OPTIMIZATION, low=0, high=10, words="that of the scale"
    )
    weight_decay: float | None = option(
        None, "Weight decay of matrices.", OPTIMIZATION, low=0, high=10, words="that of the scale"
    )
    schedule: str = option(
        CONSTANT,
        "Learning rate after the warm-up: constant with a linear decay at the end, which can be extended, or a cosine.",
        OPTIMIZATION,
        choices=SCHEDULES,
    )
    warmup_tokens: float | None = option(
        None,
        "Tokens in which the learning rate rises; 0 for none.",
        OPTIMIZATION,
        read=read_number_or_zero,
        low=0,
        high=1e15,
        words="a tenth of the tokens, at most 100M",
    )
    decay: float = option(
        0.2, "Share of the tokens, at the end, in which a constant learning rate decays.", OPTIMIZATION, low=0, high=1
    )
    balance: str = option("bias", "Load balancing of experts.", OPTIMIZATION, choices=BALANCES)
    seed: int = option(
        0, "Random seed of the weights and of the order of the text.", OPTIMIZATION, low=0, high=2**63 - 1
    )
    init_from: str = option(
        "", "Weights to begin with: an exported model's folder, a training's, or RUN:ID.", OPTIMIZATION, words="random"
    )
    dtype: str | None = option(
        None,
        "Number format of the arithmetic; weights stay in float32.",
        COMPUTING,
        choices=DTYPES,
        words="that of the scale on a GPU, float32 on a CPU",
    )
    micro_batch: int = option(
        0, "Sequences of one forward pass; gradients accumulate over a batch.", COMPUTING, low=0, words="a whole batch"
    )
    recompute: bool = option(
        False, "Compute activations again in the backward pass (gradient checkpointing), to save memory.", COMPUTING
    )
    compile: bool = option(False, "Compile the model by torch.compile.", COMPUTING)
    device: str = option("auto", "Device to train on; auto is a GPU if there is one.", COMPUTING, choices=DEVICES)
    threads: int = option(0, "Threads of a process on a CPU.", COMPUTING, low=0, high=4096, words="one per core")
    peak_flops: float = option(
        0.0,
        "Peak FLOP/s of a device, of which the utilisation (MFU) is a share: 989T.",
        COMPUTING,
        read=read_number,
        low=0,
        high=1e21,
        words="measured by a product of matrices",
    )
    checkpoint_tokens: float | None = option(
        None,
        "Tokens between checkpoints, at each of which the validation text is evaluated.",
        CHECKPOINTS,
        read=read_number,
        low=1,
        high=1e15,
        words="a 32nd of the tokens",
    )
    keep: int = option(2, "Latest checkpoints that are kept.", CHECKPOINTS, low=1, high=10**6)
    track: tuple[str, ...] = option(
        (),
        "Trackers of the scalars of each checkpoint, joined by commas.",
        CHECKPOINTS,
        read=read_names,
        choices=TRACKERS,
    )

    def __post_init__(self) -> None:
        check_settings(self)


def from_toml(text: str) -> TrainSettings:
    """Read the settings of a training; its record is not read.

    Raises:
        UserError: not TOML, an unknown key (with the nearest right one), or what TrainSettings refuses.
    """
    values = parse_table(text, "the configuration")
    values.pop(RECORD, None)
    return TrainSettings(**read_values(TrainSettings, values, " in the configuration"))
