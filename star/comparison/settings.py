"""The settings of a comparison by training, as a person writes them."""

from dataclasses import dataclass

from star.options import VERDICT, check_settings, option, read_number, read_workers


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparisonSettings:
    """Settings of the trainings by which architectures are compared.

    Raises:
        SettingError: a value of the wrong type or out of bounds.
    """

    tokens: float | None = option(
        None,
        "Train each architecture afresh on so many tokens, at equal parameters and at equal training FLOPs, and test "
        "the differences: 2M.",
        VERDICT,
        read=read_number,
        low=1,
        high=1e15,
        words="none: costs alone are compared",
    )
    seeds: int = option(
        3,
        "Seeds that each architecture is trained from; each sets the order of the text too.",
        VERDICT,
        low=1,
        high=100,
    )
    corpus: tuple[str, ...] = option(
        ("stdlib",),
        "Text to train on, and to measure on its validation part: stdlib, prose, a directory, a file, a URI, or a "
        "folder of star corpus build. May be repeated.",
        VERDICT,
    )
    tokenizer: str = option(
        "",
        "Tokenizer: bytes, bpe:N to train one of N tokens on the text, or the path of one.",
        VERDICT,
        words="bytes, or that of a folder of star corpus build",
    )
    text_field: str = option(
        "", "Field or column that holds the text.", VERDICT, words="text, else content, else messages"
    )
    workers: int = option(
        0,
        "Trainings at once, on one thread each, or auto for one per core.",
        VERDICT,
        low=0,
        read=read_workers,
        words="auto",
    )

    def __post_init__(self) -> None:
        check_settings(self)
