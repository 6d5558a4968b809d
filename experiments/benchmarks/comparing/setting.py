"""The setting shared by benchmarks of the search alone. Loads neither torch nor Ray."""

from star.architecture.genome import Space
from star.run.plan import plan_run
from star.run.settings import Settings

COLUMNS = ("cache_bytes", "params", "quality_bpb")  # all minimised, in the order of names
WORKERS = 2
CONFIG = plan_run(Settings(population=32, offspring=32, tokens=60_000, rungs=1, store="", serial=True)).settings
BOUNDS = [(int(low), int(high)) for low, high in zip(*Space(CONFIG.slots, CONFIG.deck).bounds(), strict=True)]
NAMES = [f"gene{i:02d}" for i in range(len(BOUNDS))]
