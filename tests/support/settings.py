"""Settings drawn at random, of which a run can be planned."""

from hypothesis import strategies as st

from star.architecture.genome import DECKS, LEVELS
from star.architecture.scales import BALANCES, SCALES
from star.evaluation.objectives import OBJECTIVES
from star.run.settings import Settings
from star.tracking.tracker import TRACKERS

SCALE_NAMES = ("nano", "micro", "125m", "1b")
NAMES = st.text(st.characters(codec="utf-8"), max_size=12)
LISTS = st.lists(NAMES, min_size=1, max_size=4, unique=True).map(tuple)
OBJECTIVE_LISTS = st.lists(st.sampled_from(list(OBJECTIVES)), min_size=1, max_size=4, unique=True).map(tuple)


def any_settings() -> st.SearchStrategy[Settings]:
    """Draw settings."""
    return st.builds(
        Settings,
        population=st.integers(2, 10**6),
        offspring=st.none() | st.integers(1, 10**6),
        generations=st.integers(0, 10**6),
        seed=st.integers(0, 2**80),
        slots=st.none() | st.integers(1, 100),
        deck=st.sampled_from(sorted(DECKS)),
        levels=st.sampled_from(LEVELS),
        backbone_mutation=st.floats(0, 1) | st.integers(0, 1),
        operator_mutation=st.floats(0, 1),
        featurizer_mutation=st.floats(0, 1),
        operator_crossover=st.floats(0, 1),
        featurizer_crossover=st.floats(0, 1),
        scale=st.sampled_from(SCALE_NAMES),
        target=st.none() | st.sampled_from(SCALE_NAMES),
        context=st.none() | st.integers(1, 10**7),
        dtype=st.sampled_from(["fp32", "bf16", "fp16", "fp8", "int8", "int4"]),
        batch=st.integers(1, 10**6),
        max_params=st.floats(0, 1e15) | st.integers(0, 10**13),
        max_memory=st.floats(0, 1e15),
        seed_genomes=st.just(()) | LISTS,
        track=st.lists(st.sampled_from(TRACKERS), unique=True).map(tuple),
        window=st.integers(0, SCALES["nano"].dims.seq_len),
        objectives=OBJECTIVE_LISTS,
        corpus=LISTS,
        tokenizer=st.sampled_from(["bytes", "bpe:400"]),
        tokens=st.none() | st.integers(10**7, 10**13),
        balance=st.sampled_from(BALANCES),
        rungs=st.none() | st.just(1),
        longer_share=st.floats(0, 1),
        screening=st.integers(1, 1000),
        verify_tokens=st.sampled_from([None, 0]),
        workers=st.integers(0, 1000),
        serial=st.booleans(),
        timeout=st.none() | st.floats(0, 1e12) | st.integers(0, 10**6),
    )
