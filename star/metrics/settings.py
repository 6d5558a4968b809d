"""The settings of an evaluation, as a person writes them."""

from dataclasses import dataclass

from star.errors import SettingError
from star.options import (
    COMPUTING,
    SAMPLES,
    SPEED,
    TASKS,
    TEXT_LOSS,
    check_settings,
    option,
    read_counts,
    read_number,
)
from star.trainer.settings import DEVICES, DTYPES

SIDES = ("validation", "all")
ALL = SIDES[1]
LONGEST = 10**7  # tokens of a window


@dataclass(frozen=True, slots=True, kw_only=True)
class EvalSettings:
    """What is measured of a model, as written: None stands for a value that follows from the model.

    Raises:
        SettingError: a value of the wrong type or out of bounds, or a stride that is longer than the context.
        UserError: an unknown word.
    """

    corpus: tuple[str, ...] = option(
        (),
        "Text to measure the loss on: stdlib, prose, a file, a directory, a URI, or a folder of star corpus build. May "
        "be repeated.",
        TEXT_LOSS,
        words="the text that the model was trained on, else stdlib; none where only other things are asked for",
    )
    side: str = option(SIDES[0], "Part of the corpus: the text for validation, or all of it.", TEXT_LOSS, choices=SIDES)
    text_field: str = option(
        "",
        "Field or column that holds the text of --corpus; a dot leads into a nested one, as in meta.body.",
        TEXT_LOSS,
        words="text, else content, else messages or conversations, which hold chats",
    )
    tokens: float = option(
        262_144.0,
        "Tokens of text to measure, about: 1M.",
        TEXT_LOSS,
        read=read_number,
        low=1,
        high=1e15,
        words="262,144",
    )
    context: int | None = option(
        None, "Tokens of a window of text.", TEXT_LOSS, low=1, high=LONGEST, words="those of a training sequence"
    )
    stride: int | None = option(
        None,
        "Tokens between the beginnings of two windows; where windows overlap, a token counts in the first alone.",
        TEXT_LOSS,
        low=1,
        high=LONGEST,
        words="those of a window, so that windows do not overlap",
    )
    contexts: tuple[int, ...] = option(
        (),
        "Context lengths, joined by commas: the loss is given for tokens that see more than half of each length, and "
        "--speed is measured at each. May be repeated.",
        TEXT_LOSS,
        read=read_counts,
        words="none; for --speed the length of a training sequence",
    )
    task: tuple[str, ...] = option(
        (),
        "Synthetic task on which a new model of the same architecture is trained and tested: mad, "
        "mad/in-context-recall, mqar, ... May be repeated.",
        TASKS,
        words="none",
    )
    task_tokens: float | None = option(
        None,
        "Tokens that each --task trains on: 2M.",
        TASKS,
        read=read_number,
        low=1,
        high=1e15,
        words="those of the scale's recipe",
    )
    harness: tuple[str, ...] = option((), "Task of lm-eval. May be repeated.", TASKS, words="none")
    harness_dir: str = option(
        "",
        "Folder of the task files (YAML) of --harness; these may run Python code of theirs.",
        TASKS,
        words="that of lm-eval; its tasks need their data on this machine",
    )
    prompt: tuple[str, ...] = option((), "Text that the model continues. May be repeated.", SAMPLES, words="none")
    samples: int = option(1, "Continuations of each --prompt.", SAMPLES, low=1, high=10_000)
    temperature: float = option(
        0.8,
        "Draw tokens of samples from softmax(logits / temperature); 0 takes the most likely.",
        SAMPLES,
        low=0,
        high=1e6,
    )
    max_tokens: int = option(100, "Tokens of a sample, at most.", SAMPLES, low=1, high=LONGEST)
    seed: int = option(0, "Random seed of samples and of --task.", SAMPLES, low=0, high=2**63 - 1)
    speed: bool = option(False, "Measure time and memory of prefill and decoding, one sequence at a time.", SPEED)
    device: str = option("auto", "Device; auto is a GPU if there is one.", COMPUTING, choices=DEVICES)
    compile: bool = option(
        False, "Compile the model by torch.compile, which takes some ten seconds and speeds up decoding.", COMPUTING
    )
    dtype: str = option("float32", "Number format of weights, cache and arithmetic.", COMPUTING, choices=DTYPES)

    def __post_init__(self) -> None:
        check_settings(self)
        for one in self.contexts:
            if not 1 < one <= LONGEST:
                raise SettingError("contexts", f"must lie between 2 and {LONGEST:,}, not {one}")
        if self.harness_dir and not self.harness:
            raise SettingError("harness_dir", "is for tasks of lm-eval: name one by --harness")

    @property
    def measures_text(self) -> bool:
        """Whether the loss on text is measured: it is asked for, or nothing else is."""
        asked = self.corpus or (self.contexts and not self.speed)
        return bool(asked) or not (self.task or self.harness or self.prompt or self.speed)
