"""The tasks with their published settings, and the settings that fit a small scale."""

from collections.abc import Sequence
from dataclasses import replace

from star.data.synthetic import fuzzy, recall
from star.data.synthetic.copying import compression, selective_copying
from star.data.synthetic.memorization import memorization
from star.data.synthetic.mqar import mqar
from star.data.synthetic.task import Setting, SyntheticTask
from star.errors import UserError, nearest

ALL_OF_MAD = "mad"
# Every setting of MAD is trained with each of these; the best of the six accuracies counts.
MAD_LEARNING_RATES = (1e-4, 5e-4, 1e-3)
MAD_WEIGHT_DECAYS = (0.0, 0.1)

_FEWER = ("train_examples", (6_400, 3_200, 1_600, 800))
_VOCABULARIES = ("vocab_size", (32, 64, 128))
_LENGTHS = ("seq_len", (256, 512, 1_024))


def _vary(baseline: Setting, *changes: tuple[str, Sequence[float]]) -> tuple[Setting, ...]:
    """Return the baseline, then for each (field, values) the baseline with one of the values in that field."""
    changed = [replace(baseline, **{name: value}) for name, values in changes for value in values]  # type: ignore[arg-type]
    return (baseline, *changed)


_RECALL = _vary(Setting(vocab_size=16, seq_len=128), _VOCABULARIES, _LENGTHS, _FEWER)
_NOISY = _vary(
    Setting(vocab_size=32, seq_len=128, noise_vocab=16, frac_noise=0.2),
    ("vocab_size", (48, 80, 144)),
    _LENGTHS,
    _FEWER,
    ("frac_noise", (0.4, 0.6, 0.8)),
)
_COPYING = _vary(
    Setting(vocab_size=16, seq_len=256, num_copies=16),
    _VOCABULARIES,
    ("seq_len", (512, 1_024)),
    _FEWER,
    ("num_copies", (32, 64, 96)),
)
_COMPRESSION = _vary(Setting(vocab_size=16, seq_len=32), _VOCABULARIES, ("seq_len", (64, 128, 256)), _FEWER)
_MEMORIZATION = _vary(
    Setting(vocab_size=256, seq_len=32, train_examples=256), ("vocab_size", (512, 1_024, 2_048, 4_096, 8_192))
)
_MQAR = tuple(
    Setting(
        vocab_size=8_192,
        seq_len=length,
        num_pairs=pairs,
        batch_size=batch,
        train_examples=100_000,
        test_examples=3_000,
    )
    for length, pairs, batch in ((64, 4, 512), (128, 8, 512), (256, 16, 256), (512, 64, 128))
)

TASKS: dict[str, SyntheticTask] = {
    task.name: task
    for task in (
        SyntheticTask(
            name="mad/compression",
            column="error_compression",
            title="Error in compression",
            baseline=_COMPRESSION[0],
            settings=_COMPRESSION,
            train=compression,
            test=compression,
            pools=True,
        ),
        SyntheticTask(
            name="mad/fuzzy-in-context-recall",
            column="error_fuzzy_in_context_recall",
            title="Error in fuzzy in-context recall",
            baseline=_RECALL[0],
            settings=_RECALL,
            train=fuzzy.train,
            test=fuzzy.test,
            least_vocab=7,
            least_len=12,
        ),
        SyntheticTask(
            name="mad/in-context-recall",
            column="error_in_context_recall",
            title="Error in in-context recall",
            baseline=_RECALL[0],
            settings=_RECALL,
            train=recall.train,
            test=recall.test,
        ),
        SyntheticTask(
            name="mad/memorization",
            column="error_memorization",
            title="Error in memorization",
            baseline=_MEMORIZATION[0],
            settings=_MEMORIZATION,
            train=memorization,
            test=memorization,
        ),
        SyntheticTask(
            name="mad/noisy-in-context-recall",
            column="error_noisy_in_context_recall",
            title="Error in noisy in-context recall",
            baseline=_NOISY[0],
            settings=_NOISY,
            train=recall.train,
            test=recall.test,
            least_vocab=8,
        ),
        SyntheticTask(
            name="mad/selective-copying",
            column="error_selective_copying",
            title="Error in selective copying",
            baseline=_COPYING[0],
            settings=_COPYING,
            train=selective_copying,
            test=selective_copying,
            least_len=8,
        ),
        SyntheticTask(
            name="mqar",
            column="error_mqar",
            title="Error in multi-query associative recall",
            baseline=_MQAR[0],
            settings=_MQAR,
            train=mqar,
            test=mqar,
            macro=False,
            least_vocab=18,
            least_len=16,
        ),
    )
}
MAD: tuple[str, ...] = tuple(name for name in TASKS if name.startswith(f"{ALL_OF_MAD}/"))


def find_tasks(name: str) -> tuple[SyntheticTask, ...]:
    """The task of that name, or all six for "mad"; UserError with the nearest right name otherwise."""
    if name == ALL_OF_MAD:
        return tuple(TASKS[each] for each in MAD)
    if name not in TASKS:
        raise UserError(f"unknown task {name!r}{nearest(name, (ALL_OF_MAD, *TASKS))}")
    return (TASKS[name],)


def proxy_setting(task: SyntheticTask, vocab_size: int, seq_len: int) -> Setting:
    """Return the baseline, or the setting nearest to it with that vocabulary and context. Raise UserError if no
    sensible one exists.

    docs/decisions/0012-synthetic-tasks.md has the rules, which are ours.
    """
    if vocab_size < task.least_vocab or seq_len < task.least_len:
        raise UserError(
            f"{task.name} needs a vocabulary of {task.least_vocab} and a context of {task.least_len} tokens or more, "
            f"not {vocab_size} and {seq_len}"
        )
    baseline = task.baseline
    vocab = min(baseline.vocab_size, vocab_size)
    length = min(baseline.seq_len, seq_len)
    if baseline.num_pairs:
        length = min(length, vocab - 1)
    return replace(
        baseline,
        vocab_size=vocab,
        seq_len=length - length % 2,
        noise_vocab=min(baseline.noise_vocab, vocab // 2),
        num_copies=min(baseline.num_copies, length // 8),
        num_pairs=min(baseline.num_pairs, length // 16),
    )
