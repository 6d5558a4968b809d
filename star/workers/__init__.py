"""Pools of workers that evaluate jobs, and the handling of workers that die."""

import os

# Ray reads these when it is imported.
os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")  # listen on loopback; joining clusters still works
os.environ.setdefault("RAY_DEDUP_LOGS_SKIP_REGEX", ".")  # or it reports each dead worker on our standard output
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
