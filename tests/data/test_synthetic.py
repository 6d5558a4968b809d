"""Synthetic tasks: programs that read the inputs once answer all of them, guessers score chance, distributions are the
stated ones, accuracy has a naive twin."""

import math
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.sweeps import SWEEPS

from star.architecture.scales import SCALES
from star.data.synthetic import (
    IGNORED,
    MAD,
    TASKS,
    Examples,
    Setting,
    SyntheticTask,
    epoch_accuracy,
    macro_accuracy,
    micro_accuracy,
    proxy_setting,
)
from star.data.synthetic.memorization import fixed_map
from star.data.synthetic.task import distinct
from star.errors import UserError

EACH_TASK = pytest.mark.parametrize("task", TASKS.values(), ids=TASKS)
EACH_SETTING = pytest.mark.parametrize(
    ("task", "setting"),
    [
        pytest.param(task, setting, id=f"{task.name}-{i}")
        for task in TASKS.values()
        for i, setting in enumerate(SWEEPS[task.name])
    ],
)
RECALLS = ("mad/in-context-recall", "mad/noisy-in-context-recall")
FUZZY, COPYING, MEMORY = "mad/fuzzy-in-context-recall", "mad/selective-copying", "mad/memorization"
RARE = 15.0  # nats: a test whose seed were not fixed would fail once in a million times


def rng(seed=0):
    return np.random.default_rng(seed)


def surprise(hits: int, trials: int, chance: float) -> float:
    """Chernoff: a binomial count is as far off as `hits`, to its side, with probability exp(-this) at most."""
    share = hits / trials
    parts = ((share, chance), (1 - share, 1 - chance))
    return trials * sum(one * math.log(one / other) for one, other in parts if one)


def assert_chance(hits, trials, chance):
    assert surprise(int(hits), int(trials), chance) < RARE, f"{hits} of {trials}, expected {chance:.4f}"


def assert_distributed(counts, chances):
    """Pearson's statistic, below what a chi-square exceeds with probability exp(-RARE) (Laurent and Massart 2000)."""
    expected = np.asarray(chances) * np.sum(counts)
    freedom = len(expected) - 1
    statistic = ((np.asarray(counts) - expected) ** 2 / expected).sum()
    assert expected.min() > 10 and statistic < freedom + 2 * math.sqrt(freedom * RARE) + 2 * RARE


# Oracles: each reads one sequence of inputs from left to right and says at each place what will be asked, if anything


def recall_oracle(setting: Setting, inputs: list[int]) -> list[int]:
    plain = setting.vocab_size - setting.noise_vocab
    values, answers, key = {}, [], None
    for token in inputs:
        answers.append(values.get(token, IGNORED))
        if token < plain // 2:
            key = token
        elif token < plain:
            values.setdefault(key, token)
    return answers


def fuzzy_oracle(setting: Setting, inputs: list[int]) -> list[int]:
    """A key is three tokens; at its third, and at each token of a value but the last, the next one is asked."""
    half, pad = (setting.vocab_size - 1) // 2, setting.vocab_size - 1
    values, answers, key, value = {}, [], (), ()
    for token in inputs:
        if token < half:
            if value:
                values.setdefault(key, value)
                key, value = (), ()
            key += (token,)
        elif token < pad:
            value += (token,)
        known = values.get(key, ())
        answers.append(known[len(value)] if len(value) < len(known) else IGNORED)
    return answers


def copying_oracle(setting: Setting, inputs: list[int]) -> list[int]:
    queue, answers, copying = [], [], False
    for token in inputs:
        answers.append(queue.pop(0) if copying else IGNORED)
        copying |= token == setting.vocab_size - 1
        if token < setting.vocab_size - 2:
            queue.append(token)
    return answers


def mqar_oracle(setting: Setting, inputs: list[int]) -> list[int]:
    values, answers, key = {}, [], 0
    for token in inputs:
        answers.append(values.get(token, IGNORED))
        if token >= setting.vocab_size // 2:
            values[key] = token
        key = token
    return answers


def compression_oracle(setting: Setting, inputs: list[int]) -> list[int]:
    """All is read into one number, and each place is read off that number alone."""
    state = 0
    for token in inputs:
        state = state * setting.vocab_size + token
    return [state // setting.vocab_size**power % setting.vocab_size for power in reversed(range(len(inputs)))]


def memorization_oracle(setting: Setting, inputs: list[int]) -> list[int]:
    """Remembers training: forty times as many examples as needed to have seen each key once on average."""
    table = learned(TASKS[MEMORY].train(setting, rng(99), 40 * setting.vocab_size // setting.seq_len))
    return [IGNORED] + [
        table[key] if token == setting.vocab_size - 1 else IGNORED
        for key, token in zip(inputs, inputs[1:], strict=False)
    ]


def learned(examples: Examples) -> dict[int, int]:
    """The target after each key."""
    return dict(zip(examples.inputs[:, ::2].flat, examples.targets[:, 1::2].flat, strict=True))


ORACLES = {
    "mad/compression": compression_oracle,
    FUZZY: fuzzy_oracle,
    "mad/in-context-recall": recall_oracle,
    MEMORY: memorization_oracle,
    "mad/noisy-in-context-recall": recall_oracle,
    COPYING: copying_oracle,
    "mqar": mqar_oracle,
}


def answers_of(task: SyntheticTask, setting: Setting, inputs: np.ndarray) -> np.ndarray:
    return np.array([ORACLES[task.name](setting, row) for row in inputs.tolist()])


@EACH_SETTING
def test_one_reading_of_the_inputs_answers_all_that_is_asked_and_knows_what_is_asked(task, setting):
    count = 4 if task.name == MEMORY else 24
    examples = task.test(setting, rng(1), count)
    assert np.array_equal(answers_of(task, setting, examples.inputs), examples.targets)
    assert (examples.targets != IGNORED).any(axis=1).all()


@EACH_TASK
def test_the_oracle_scores_one(task):
    setting = task.baseline
    examples = task.test(setting, rng(1), 200 if task.name != MEMORY else 20)
    answers = answers_of(task, setting, examples.inputs)
    assert task.accuracy(setting, answers, examples.targets, setting.vocab_size) == 1.0


@EACH_SETTING
def test_examples_have_the_stated_shapes_and_tokens(task, setting):
    for draw in (task.train, task.test):
        examples = draw(setting, rng(2), 20)
        shape = (20, setting.seq_len - (task.name in RECALLS))
        for array in (examples.inputs, examples.targets):
            assert array.shape == shape and array.dtype == np.int64
        assert examples.inputs.min() >= 0 and examples.inputs.max() < setting.vocab_size
        asked = examples.targets[examples.targets != IGNORED]
        assert asked.min() >= 0 and asked.max() < setting.vocab_size


# Guessers


def answerable(task: SyntheticTask, setting: Setting) -> range:
    """What an answer can be; for compression apart from the last place, which is always the same."""
    size = setting.vocab_size
    if task.name in RECALLS:
        size -= setting.noise_vocab
        return range(size // 2, size)
    if task.name in (FUZZY, MEMORY):
        return range((size - 1) // 2, size - 1)
    return {COPYING: range(size - 2), "mqar": range(size // 2, size), "mad/compression": range(size - 1)}[task.name]


def open_targets(task: SyntheticTask, examples: Examples) -> np.ndarray:
    targets = examples.targets.copy()
    if task.pools:
        targets[:, -1] = IGNORED
    return targets


@EACH_SETTING
def test_a_uniform_guess_scores_chance(task, setting):
    targets = open_targets(task, task.test(setting, rng(3), 128))
    choices = answerable(task, setting)
    guesses = rng(4).integers(choices.start, choices.stop, targets.shape)
    assert_chance((guesses == targets).sum(), (targets != IGNORED).sum(), 1 / len(choices))


@EACH_SETTING
def test_habits_score_chance_except_where_habits_are_the_task(task, setting):
    """What most often answered that token, in other examples; for the tasks whose cue is no key, that place. One answer
    of each example is tried, so that trials are independent: the last that is asked at a key."""
    habit = {}
    for example in cues(task, setting, task.test(setting, rng(5), 400)):
        habit.setdefault(example[0], Counter())[example[1]] += 1
    trials = cues(task, setting, task.test(setting, rng(6), 400))
    hits = sum(cue in habit and habit[cue].most_common(1)[0][0] == answer for cue, answer in trials)
    if task.name == MEMORY:
        assert hits == sum(cue in habit for cue, _ in trials) > 0
    else:
        chance = 1 / len(answerable(task, setting))
        known = sum(cue in habit for cue, _ in trials)
        assert known == 0 or surprise(hits, known, chance) < RARE


def cues(task: SyntheticTask, setting: Setting, examples: Examples) -> list[tuple[int, int]]:
    targets, first_answer = open_targets(task, examples), answerable(task, setting).start
    found = []
    for row, wanted in zip(examples.inputs, targets, strict=True):
        if task.name in (COPYING, "mad/compression"):
            place = np.flatnonzero(wanted != IGNORED)[-1]
            found.append((int(place), int(wanted[place])))
        elif task.name == MEMORY:
            found.append((int(row[-2]), int(wanted[-1])))
        else:
            place = np.flatnonzero((wanted != IGNORED) & (row < first_answer))[-1]
            found.append((int(row[place]), int(wanted[place])))
    return found


# Training examples


@pytest.mark.parametrize("name", [*RECALLS, FUZZY])
def test_recall_is_trained_on_every_next_token(name):
    task = TASKS[name]
    for setting in SWEEPS[task.name]:
        examples = task.train(setting, rng(7), 16)
        assert np.array_equal(examples.inputs[:, 1:], examples.targets[:, :-1])
        assert (examples.targets != IGNORED).all()


@pytest.mark.parametrize("name", RECALLS)
def test_the_test_asks_for_a_part_of_what_training_asks_for(name):
    task = TASKS[name]
    train, test = (draw(task.baseline, rng(8), 300) for draw in (task.train, task.test))
    asked = test.targets != IGNORED
    assert np.array_equal(train.inputs, test.inputs)
    assert np.array_equal(train.targets[asked], test.targets[asked])
    assert asked[:, -1].all() and not asked[:, 1::2].any()


@pytest.mark.parametrize("name", ["mad/compression", MEMORY, COPYING, "mqar"])
def test_the_other_tasks_are_trained_as_they_are_tested(name):
    task = TASKS[name]
    train, test = (draw(task.baseline, rng(9), 50) for draw in (task.train, task.test))
    assert np.array_equal(train.inputs, test.inputs) and np.array_equal(train.targets, test.targets)


@EACH_TASK
def test_the_seed_alone_decides(task):
    for draw in (task.train, task.test):
        one, same, other = (draw(task.baseline, rng(seed), 30) for seed in (10, 10, 11))
        assert np.array_equal(one.inputs, same.inputs) and np.array_equal(one.targets, same.targets)
        assert not np.array_equal(one.inputs, other.inputs)
        assert not np.shares_memory(one.inputs, one.targets)


# Distributions


@pytest.mark.parametrize("frac_noise", [0.2, 0.4, 0.6, 0.8])
def test_noise_takes_its_share_of_pairs_and_never_all(frac_noise):
    task = TASKS["mad/noisy-in-context-recall"]
    setting = replace(task.baseline, frac_noise=frac_noise)
    inputs = task.train(setting, rng(12), 1_000).inputs
    noise = inputs >= 16
    assert np.array_equal(noise[:, :-1:2], noise[:, 1::2]), "noise comes in pairs"
    noisy = noise[:, :-1:2]
    assert not noise[:, -1].any() and not noisy.all(axis=1).any()
    # The first 63 of 64 pairs, of which one is spared.
    assert_chance(noisy.sum(), 1_000 * 62, frac_noise)
    assert_distributed(np.bincount(inputs[noise] - 16), np.full(16, 1 / 16))


def test_the_key_spared_from_noise_can_be_the_only_one():
    setting = Setting(vocab_size=32, seq_len=128, noise_vocab=16, frac_noise=1.0)
    examples = TASKS["mad/noisy-in-context-recall"].test(setting, rng(13), 500)
    keys = examples.inputs[:, ::2]
    assert ((keys < 16).sum(axis=1) == 2).all()
    assert np.array_equal(keys[keys < 16].reshape(-1, 2)[:, 0], keys[:, -1])
    assert (keys[:, :-1] < 16).any(axis=0).sum() > 55


def test_keys_are_uniform_and_maps_are_new_in_each_sequence():
    inputs = TASKS["mad/in-context-recall"].train(TASKS["mad/in-context-recall"].baseline, rng(14), 2_000).inputs
    assert_distributed(np.bincount(inputs[:, 0]), np.full(8, 1 / 8))
    counts = np.zeros((8, 8))
    np.add.at(counts, (inputs[:, 0], inputs[:, 1] - 8), 1)
    assert_distributed(counts.ravel(), np.full(64, 1 / 64))


def test_the_last_key_is_any_of_those_seen_however_often():
    task = TASKS["mad/in-context-recall"]
    keys = task.train(Setting(vocab_size=4, seq_len=8), rng(15), 4_000).inputs[:, ::2]
    mixed = keys[(keys[:, :3].sum(axis=1) % 3) > 0]
    rare = (mixed[:, :3].sum(axis=1) == 1).astype(int)
    assert_chance((mixed[:, 3] == rare).sum(), len(mixed), 1 / 2)
    alike = keys[(keys[:, :3].sum(axis=1) % 3) == 0]
    assert np.array_equal(alike[:, 3], alike[:, 0])


def test_every_token_of_its_kind_is_drawn_alike():
    small = {"mqar": Setting(vocab_size=40, seq_len=32, num_pairs=4)}
    examples = {name: TASKS[name].train(small.get(name, TASKS[name].baseline), rng(26), 3_000) for name in TASKS}
    compressed = examples["mad/compression"].inputs
    assert (compressed[:, -1] == 15).all()
    for drawn, low, high in (
        (compressed[:, :-1], 0, 15),
        (examples[COPYING].targets[:, -16:], 0, 14),
        (examples[MEMORY].inputs[:, ::2], 0, 127),
        (examples["mqar"].inputs[:, 0], 1, 20),
        (examples["mqar"].inputs[:, 1], 20, 40),
    ):
        tokens, counts = np.unique(drawn, return_counts=True)
        assert tokens.tolist() == [*range(low, high)]
        assert_distributed(counts, np.full(high - low, 1 / (high - low)))


def motifs(setting: Setting, row: list[int]) -> tuple[int, list[tuple[tuple[int, ...], tuple[int, ...]]]]:
    """How many tokens of padding, and the pairs after it, by runs of tokens below and above the middle."""
    half, pad = (setting.vocab_size - 1) // 2, setting.vocab_size - 1
    padding = next(i for i, token in enumerate(row) if token != pad)
    pairs, value = [], ((),)
    for token in row[padding:]:
        assert token != pad
        if token < half and value:
            pairs.append(((), ()))
        key, value = pairs.pop()
        key, value = (key + (token,), value) if token < half else (key, value + (token,))
        pairs.append((key, value))
    return padding, pairs


@pytest.mark.parametrize("mode", ["train", "test"])
def test_fuzzy_motifs_are_permutations_of_every_length_and_padding_is_on_the_left(mode):
    task = TASKS[FUZZY]
    setting = task.baseline
    examples = getattr(task, mode)(setting, rng(16), 1_100)
    first_keys, first_values = Counter(), Counter()
    for row in examples.inputs.tolist():
        padding, pairs = motifs(setting, row)
        assert 1 <= padding <= 10
        for key, value in pairs[:-1]:
            assert len(set(key)) == len(key) <= 3 and 1 <= len(set(value)) == len(value) <= 3
            assert mode == "train" or len(key) == 3
        mapped = dict(pairs[:-1])
        assert all(mapped[key] == value for key, value in pairs[:-1])
        key, value = pairs[-1]
        if mode == "test":  # the last token of the last value is a target only
            assert mapped[key][: len(value)] == value and len(mapped[key]) - len(value) in (0, 1)
        first_keys[pairs[0][0]] += 1
        first_values[pairs[0][1]] += 1
    lengths = [1, 2, 3] if mode == "train" else [3]
    for counts, sizes in ((first_keys, lengths), (first_values, [1, 2, 3])):
        by_length = [sum(count for motif, count in counts.items() if len(motif) == size) for size in sizes]
        assert_distributed(by_length, np.full(len(sizes), 1 / len(sizes)))
    singles = [first_values[(token,)] for token in range(7, 15)]
    assert_distributed(singles, np.full(8, 1 / 8))


def test_a_fuzzy_key_that_begins_another_has_a_value_of_its_own():
    """Two values are the same with probability 1/9 (1/8 + 1/56 + 1/336): both of one length, and the same motif."""
    task, alike, trials = TASKS[FUZZY], 0, 0
    for row in task.train(task.baseline, rng(27), 2_000).inputs.tolist():
        mapped = dict(motifs(task.baseline, row)[1][:-1])
        longer = sorted(key for key in mapped if key[:-1] in mapped and key[-1] == 0)
        if longer:
            trials += 1
            alike += mapped[longer[0]] == mapped[longer[0][:-1]]
    assert trials > 300
    assert_chance(alike, trials, (1 / 8 + 1 / 56 + 1 / 336) / 9)


def test_the_last_fuzzy_pair_repeats_any_of_the_others():
    task = TASKS[FUZZY]
    setting = replace(task.baseline, vocab_size=128)  # where a key seldom comes twice by itself
    rows = [motifs(setting, row)[1] for row in task.test(setting, rng(28), 4_000).inputs.tolist()]
    keys = [[key for key, _ in pairs] for pairs in rows]
    [(size, _)] = Counter(len(row) for row in keys).most_common(1)
    places = [row.index(row[-1]) for row in keys if len(row) == size and len(set(row)) == size - 1]
    assert_distributed(np.bincount(places, minlength=size - 1), np.full(size - 1, 1 / (size - 1)))


def test_long_fuzzy_sequences_come_in_blocks_that_differ():
    inputs = TASKS[FUZZY].test(TASKS[FUZZY].baseline, rng(17), 2_500).inputs
    assert inputs.shape == (2_500, 128) and len(np.unique(inputs, axis=0)) == 2_500


@pytest.mark.parametrize("vocab_size", [256, 512, 8_192])
def test_the_memorized_map_is_one_to_one_and_the_same_for_all(vocab_size):
    """The twin shuffles lists of keys and values, one generator after the other."""
    generator, plain = rng(12_345), vocab_size - 1
    keys, values = [*range(plain // 2)], [*range(plain // 2, plain)]
    generator.shuffle(keys)
    generator.shuffle(values)
    assert fixed_map(vocab_size).tolist() == [value for _, value in sorted(zip(keys, values, strict=False))]
    assert len(set(fixed_map(vocab_size).tolist())) == plain // 2
    setting = replace(TASKS[MEMORY].baseline, vocab_size=vocab_size)
    train, test = (
        learned(TASKS[MEMORY].train(setting, rng(18), 500)),
        learned(TASKS[MEMORY].test(setting, rng(19), 500)),
    )
    assert all(test[key] == train[key] for key in train.keys() & test.keys())
    assert len(train.keys() & test.keys()) > 100


def test_so_much_of_the_largest_maps_is_never_seen_in_training():
    """Of n keys, 256 x 16 draws leave out (1 - 1/n)^4096 on average, which nobody can know. Hoeffding's bound holds for
    the number left out, since keys that are left out make others likelier to be seen."""
    ceilings = []
    for setting in SWEEPS[MEMORY]:
        keys = (setting.vocab_size - 1) // 2
        seen = np.unique(TASKS[MEMORY].train(setting, rng(20), setting.train_examples).inputs[:, ::2]).size
        ceilings.append(1 - (1 - 1 / keys) ** 4_096)
        assert abs(seen / keys - ceilings[-1]) < math.sqrt(RARE / 2 / keys)
    assert np.allclose(ceilings, [1, 1, 1, 0.982, 0.865, 0.632], atol=5e-4)
    assert round(float(np.mean(ceilings)), 3) == 0.913


def test_blanks_stand_before_the_tokens_to_copy_evenly():
    task = TASKS[COPYING]
    for setting in SWEEPS[task.name]:
        copies, blank = setting.num_copies, setting.vocab_size - 2
        examples = task.train(setting, rng(21), 100)
        front = examples.inputs[:, : setting.seq_len - copies - 1]
        assert (examples.inputs[:, -copies:] == blank).all() and (examples.inputs[:, -copies - 1] == blank + 1).all()
        assert (front[:, -1] != blank).all() and ((front != blank).sum(axis=1) == copies).all()
        assert np.array_equal(front[front != blank].reshape(100, copies), examples.targets[:, -copies:])
        assert (examples.targets[:, :-copies] == IGNORED).all()
        blanks = np.diff(np.nonzero(front != blank)[1].reshape(100, copies), axis=1, prepend=-1) - 1
        assert_distributed(blanks.sum(axis=0), np.full(copies, 1 / copies))


@pytest.mark.parametrize("setting", SWEEPS["mqar"], ids=lambda setting: str(setting.seq_len))
def test_queries_follow_the_power_law_without_replacement(setting):
    pairs, size = setting.num_pairs, setting.vocab_size
    examples = TASKS["mqar"].train(setting, rng(22), 16_000)
    keys, values = examples.inputs[:, 0 : 2 * pairs : 2], examples.inputs[:, 1 : 2 * pairs : 2]
    assert keys.min() >= 1 and keys.max() < size // 2 <= values.min()
    assert all((np.diff(np.sort(side, axis=1), axis=1) > 0).all() for side in (keys, values))
    rest = examples.inputs[:, 2 * pairs :]
    assert (rest[:, 1::2] == 0).all() and ((rest != 0).sum(axis=1) == pairs).all()
    assert np.array_equal(examples.targets[:, 2 * pairs :] != IGNORED, rest != 0)
    assert (examples.targets[:, : 2 * pairs] == IGNORED).all()
    law = 0.01 * np.arange(1.0, (setting.seq_len - 2 * pairs) // 2 + 1) ** (0.01 - 1)
    law /= law.sum()
    # A slot is taken by the second key if it was free, the first having taken i with probability law[i].
    second = law * ((law / (1 - law)).sum() - law / (1 - law))
    for index, expected in enumerate((law, second)):
        slots = (rest[:, ::2] == keys[:, index, None]).argmax(axis=1)
        assert_distributed(np.bincount(slots, minlength=law.size), expected)


@given(st.integers(-3, 3), st.integers(1, 9), st.data())
def test_distinct_integers_differ_and_stay_in_range(low, size, data):
    count = data.draw(st.integers(0, size))
    drawn = distinct(rng(23), low, low + size, (7, 5, count))
    assert drawn.shape == (7, 5, count) and (np.diff(np.sort(drawn), axis=-1) > 0).all()
    assert ((low <= drawn) & (drawn < low + size)).all()


def test_distinct_integers_are_all_orders_alike():
    drawn = distinct(rng(24), 0, 5, (30_000, 3)) @ [25, 5, 1]
    counts = np.unique(drawn, return_counts=True)[1]
    assert_distributed(counts, np.full(60, 1 / 60))


# Settings


def test_baselines_are_the_published_ones():
    names = ("vocab_size", "seq_len", "train_examples", "test_examples", "batch_size")
    assert {name: tuple(getattr(task.baseline, field) for field in names) for name, task in TASKS.items()} == {
        "mad/compression": (16, 32, 12_800, 1_280, 128),
        "mad/fuzzy-in-context-recall": (16, 128, 12_800, 1_280, 128),
        "mad/in-context-recall": (16, 128, 12_800, 1_280, 128),
        "mad/memorization": (256, 32, 256, 1_280, 128),
        "mad/noisy-in-context-recall": (32, 128, 12_800, 1_280, 128),
        "mad/selective-copying": (16, 256, 12_800, 1_280, 128),
        "mqar": (8_192, 64, 100_000, 3_000, 512),
    }
    rare = {"noise_vocab": "mad/noisy-in-context-recall", "frac_noise": "mad/noisy-in-context-recall"}
    rare |= {"num_copies": "mad/selective-copying", "num_pairs": "mqar"}
    values = {field: {name: getattr(task.baseline, field) for name, task in TASKS.items()} for field in rare}
    found = {field: {name: value for name, value in one.items() if value} for field, one in values.items()}
    numbers = {"noise_vocab": 16, "frac_noise": 0.2, "num_copies": 16, "num_pairs": 4}
    assert found == {field: {name: numbers[field]} for field, name in rare.items()}


def test_tasks_are_named_in_the_order_of_the_published_table():
    assert (
        tuple(
            f"mad/{name}"
            for name in (
                "compression",
                "fuzzy-in-context-recall",
                "in-context-recall",
                "memorization",
                "noisy-in-context-recall",
                "selective-copying",
            )
        )
        == MAD
    )
    for name, task in TASKS.items():
        assert task.name == name
        assert task.column == "error_" + name.removeprefix("mad/").replace("-", "_")
    assert [name for name, task in TASKS.items() if task.pools] == ["mad/compression"]


# Proxies


def test_proxies_of_nano_are_baselines_but_for_two():
    dims = SCALES["nano"].dims
    changed = {}
    for name, task in TASKS.items():
        setting = proxy_setting(task, dims.vocab_size, dims.seq_len)
        if setting != task.baseline:
            changed[name] = setting
    assert changed == {
        COPYING: replace(TASKS[COPYING].baseline, seq_len=128),
        "mqar": replace(TASKS["mqar"].baseline, vocab_size=256),
    }
    dims = SCALES["125m"].dims
    assert all(proxy_setting(task, dims.vocab_size, dims.seq_len) == task.baseline for task in TASKS.values())


@settings(max_examples=150)
@given(st.sampled_from([*TASKS]), st.integers(0, 40), st.integers(0, 70), st.integers(0, 2**32))
def test_what_fits_a_scale_is_still_the_task(name, more_tokens, longer, seed):
    task = TASKS[name]
    vocab_size, seq_len = task.least_vocab + more_tokens, task.least_len + longer
    setting = proxy_setting(task, vocab_size, seq_len)
    assert setting.vocab_size <= vocab_size and setting.seq_len <= seq_len
    assert task.train(setting, rng(seed), 3).inputs.shape[1] <= seq_len
    examples = task.test(setting, rng(seed), 3)
    assert np.array_equal(answers_of(task, setting, examples.inputs), examples.targets)


@EACH_TASK
def test_scales_that_are_too_small_are_refused(task):
    for vocab_size, seq_len in ((task.least_vocab - 1, 1_000), (10_000, task.least_len - 1)):
        with pytest.raises(UserError, match=f"{task.name} needs a vocabulary of {task.least_vocab} and a context of"):
            proxy_setting(task, vocab_size, seq_len)


# Accuracy


def naive_macro(predicted, targets):
    pairs = [
        (int(one), int(other)) for one, other in zip(predicted.flat, targets.flat, strict=True) if other != IGNORED
    ]
    shares = []
    for token in {one for pair in pairs for one in pair}:
        mine = [one == other for one, other in pairs if other == token]
        shares.append(sum(mine) / len(mine) if mine else 0.0)
    return sum(shares) / len(shares) if shares else 0.0


@given(st.integers(1, 9), st.integers(0, 40), st.integers(0, 2**32))
def test_macro_accuracy_equals_its_naive_twin(num_classes, size, seed):
    generator = rng(seed)
    predicted, targets = generator.integers(0, num_classes, (2, size))
    targets[generator.random(size) < 0.3] = IGNORED
    assert math.isclose(macro_accuracy(predicted, targets, num_classes), naive_macro(predicted, targets))


def test_macro_accuracy_by_hand():
    """Classes 0, 1, 2 have 1 of 2, 1 of 1 and 1 of 1; then as documented of torchmetrics for two samples."""
    assert macro_accuracy(np.array([2, 1, 0, 1]), np.array([2, 1, 0, 0]), 3) == pytest.approx(5 / 6)
    targets = np.array([[[0, 1], [2, 1], [0, 2]], [[1, 1], [2, 0], [1, 2]]])
    predicted = np.array([[[0, 2], [2, 0], [0, 1]], [[2, 2], [2, 1], [1, 0]]])
    found = [macro_accuracy(one, other, 3) for one, other in zip(predicted, targets, strict=True)]
    assert found == pytest.approx([1 / 2, 5 / 18])
    # Class 4 is in neither and does not count; class 3 is predicted wrongly and counts as 0.
    assert macro_accuracy(np.array([0, 1, 3]), np.array([0, 1, 1]), 5) == pytest.approx((1 + 1 / 2 + 0) / 3)
    assert macro_accuracy(np.array([0, 1, 3]), np.array([0, 1, IGNORED]), 5) == 1.0


def test_the_value_of_an_epoch_is_the_mean_over_batches():
    targets, predicted = np.array([[0], [0], [0], [1]]), np.array([[0], [0], [0], [0]])
    assert epoch_accuracy(predicted, targets, 2, batch_size=2) == pytest.approx((1 + (1 + 0) / 2) / 2)
    assert macro_accuracy(predicted, targets, 2) == pytest.approx(1 / 2)
    assert micro_accuracy(predicted, targets) == 3 / 4


@EACH_TASK
def test_one_answer_to_all_is_right_for_one_class_of_those_that_occur(task):
    setting = task.baseline
    targets = task.test(setting, rng(25), setting.batch_size).targets
    asked = targets[targets != IGNORED]
    found = task.accuracy(setting, np.full_like(targets, asked[0]), targets, setting.vocab_size)
    assert found == pytest.approx(1 / np.unique(asked).size if task.macro else (asked == asked[0]).mean())
    assert task.macro == (task.name in MAD)
