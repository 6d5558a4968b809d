"""Ray's own cluster of several nodes on one machine, and processes that hold it or use it."""

import inspect
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from support.paths import importing

NODE = {"node_ip_address": "127.0.0.1", "include_dashboard": False, "object_store_memory": 80 << 20, "num_cpus": 1}


def make_cluster(*nodes: dict):
    """Begin a head and more nodes; what differs from NODE, for each."""
    from ray.cluster_utils import Cluster  # not before star.workers has told Ray to be quiet

    cluster = Cluster(initialize_head=True, head_node_args=NODE | nodes[0])
    return cluster, [cluster.add_node(**NODE | node) for node in nodes[1:]]


def call(function: Callable, *arguments: object, **options) -> subprocess.Popen:
    """Call a function of a test file in a process of its own, which prints what the function gives as JSON."""
    file = Path(inspect.getfile(function))
    code = f"import json, sys, {file.stem} as file; print(json.dumps(file.{function.__name__}(*sys.argv[1:])))"
    command = [sys.executable, "-c", code, *map(str, arguments)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(command, env=importing(file.parent), **pipes, **options)


def result_of(process: subprocess.Popen):
    """Wait for the end of a call and give what its function gave."""
    out, errors = process.communicate(timeout=240)
    assert process.returncode == 0, errors[-3000:]
    return json.loads(out.splitlines()[-1])
