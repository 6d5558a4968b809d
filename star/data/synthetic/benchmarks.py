"""The tasks with their published baselines, and the nearest setting that fits a small scale."""

from dataclasses import replace

from star.data.synthetic import fuzzy, recall
from star.data.synthetic.copying import compression, selective_copying
from star.data.synthetic.memorization import memorization
from star.data.synthetic.mqar import mqar
from star.data.synthetic.task import Setting, SyntheticTask
from star.errors import UserError

ALL_OF_MAD = "mad"
_RECALL = Setting(vocab_size=16, seq_len=128)

TASKS: dict[str, SyntheticTask] = {
    task.name: task
    for task in (
        SyntheticTask(
            name="mad/compression",
            column="error_compression",
            title="Error in compression",
            baseline=Setting(vocab_size=16, seq_len=32),
            train=compression,
            test=compression,
            pools=True,
        ),
        SyntheticTask(
            name="mad/fuzzy-in-context-recall",
            column="error_fuzzy_in_context_recall",
            title="Error in fuzzy in-context recall",
            baseline=_RECALL,
            train=fuzzy.train,
            test=fuzzy.test,
            least_vocab=7,
            least_len=12,
        ),
        SyntheticTask(
            name="mad/in-context-recall",
            column="error_in_context_recall",
            title="Error in in-context recall",
            baseline=_RECALL,
            train=recall.train,
            test=recall.test,
        ),
        SyntheticTask(
            name="mad/memorization",
            column="error_memorization",
            title="Error in memorization",
            baseline=Setting(vocab_size=256, seq_len=32, train_examples=256),
            train=memorization,
            test=memorization,
        ),
        SyntheticTask(
            name="mad/noisy-in-context-recall",
            column="error_noisy_in_context_recall",
            title="Error in noisy in-context recall",
            baseline=Setting(vocab_size=32, seq_len=128, noise_vocab=16, frac_noise=0.2),
            train=recall.train,
            test=recall.test,
            least_vocab=8,
        ),
        SyntheticTask(
            name="mad/selective-copying",
            column="error_selective_copying",
            title="Error in selective copying",
            baseline=Setting(vocab_size=16, seq_len=256, num_copies=16),
            train=selective_copying,
            test=selective_copying,
            least_len=8,
        ),
        SyntheticTask(
            name="mqar",
            column="error_mqar",
            title="Error in multi-query associative recall",
            baseline=Setting(
                vocab_size=8_192,
                seq_len=64,
                num_pairs=4,
                batch_size=512,
                train_examples=100_000,
                test_examples=3_000,
            ),
            train=mqar,
            test=mqar,
            macro=False,
            least_vocab=18,
            least_len=16,
        ),
    )
}
MAD: tuple[str, ...] = tuple(name for name in TASKS if name.startswith(f"{ALL_OF_MAD}/"))


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
