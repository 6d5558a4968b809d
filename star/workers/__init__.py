"""Workers: where proxies are trained, one after the other in this process or by Ray actors side by side."""

import os

# Ray reads these when it is imported.
os.environ.setdefault(
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0"
)  # listen on loopback alone; joining clusters still works
os.environ.setdefault("RAY_DEDUP_LOGS_SKIP_REGEX", ".")  # or it tells of each dead worker on our standard output
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")

from star.workers.placement import Placement  # noqa: E402
from star.workers.pool import Evaluate, Pool, SerialPool  # noqa: E402
from star.workers.ray_pool import RayPool  # noqa: E402

__all__ = ["Evaluate", "Placement", "Pool", "RayPool", "SerialPool"]
