"""A cluster whose machines come and go while jobs run: every job gives one result, and nothing stays behind.

Ray's own cluster of several nodes on one machine, held by processes of their own; the functions named `host` and
`drive` run there.
"""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from threading import Thread

import psutil
import pytest
import yaml
from support.cluster import NODE, call, make_cluster, result_of
from support.jobs import act, attempts, collect, jobs_named, wait_for
from support.paths import ROOT

from star.errors import UserError
from star.records import Status
from star.workers import actor_pool
from star.workers.placement import Placement
from star.workers.ray_pool import RayPool

GUIDE = ROOT / "docs" / "guides" / "cluster.md"


@contextmanager
def meanwhile(action: Callable[[], object]) -> Iterator[None]:
    """Run beside the body, and end before it is left."""
    thread = Thread(target=action)
    thread.start()
    yield
    thread.join()


def homes(pool: RayPool) -> dict[str, int]:
    """Process of the worker on each node."""
    return {worker.node: worker.pid for worker in pool.workers()}


def summary(results: dict) -> dict:
    return {name: [one.evaluation.status, one.evaluation.retries] for name, one in results.items()}


def drive_while_nodes_come_and_go(folder: str) -> dict:
    """Three machines at a job each: one is shut down, one torn away, on the third the worker crashes. Then a machine
    with two cores joins."""
    folder = Path(folder)
    cluster, (first, second) = make_cluster({}, {}, {})
    with RayPool(partial(act, folder=folder), Placement(address=cluster.address)) as pool:
        while pool.num_workers < 3:
            collect(pool, jobs_named("nap-begin"))
        found = homes(pool)

        def harm():
            wait_for(lambda: len(list(folder.glob("hangonce-*"))) == 3)
            os.kill(found[cluster.head_node.node_id], signal.SIGSEGV)
            cluster.remove_node(first, allow_graceful=True)
            cluster.remove_node(second, allow_graceful=False)

        with meanwhile(harm):
            jobs = jobs_named("hangonce-0", "hangonce-1", "hangonce-2", *(f"nap-{n}" for n in range(4)))
            results = collect(pool, jobs)
        left = pool.num_workers
        joined = cluster.add_node(**NODE | {"num_cpus": 2}).node_id
        rounds = 0
        while pool.num_workers < 3 and rounds < 200:
            collect(pool, jobs_named("nap-more"))
            rounds += 1
        return {"left": left, "now": pool.num_workers, "joined": joined in homes(pool), "results": summary(results)}


def drive_without_a_head(folder: str) -> str:
    """The head of the cluster dies in the middle of a job."""
    actor_pool.HEAD_SECONDS = 2.0
    cluster, _ = make_cluster({})
    with RayPool(partial(act, folder=Path(folder)), Placement(address=cluster.address)) as pool:
        pool.submit(*jobs_named("hang-1"))
        wait_for(lambda: attempts(Path(folder), "hang-1"))
        os.kill(cluster.head_node.all_processes["gcs_server"][0].process.pid, signal.SIGKILL)
        try:
            pool.take()
        except UserError as error:
            return str(error).replace(cluster.address, "ADDRESS")


def host_two_workers() -> None:
    """A cluster until the end of the input."""
    cluster, _ = make_cluster({"num_cpus": 2})
    print(cluster.address, flush=True)
    sys.stdin.readline()
    cluster.shutdown()


def drive_there(address: str, folder: str, *names: str) -> dict:
    """Jobs on a cluster that others hold."""
    with RayPool(partial(act, folder=Path(folder)), Placement(address=address)) as pool:
        return summary(collect(pool, jobs_named(*names)))


def devour(job, folder: Path):
    """A job that takes memory without an end, unless it is healthy."""
    eaten = []
    while job.task.hash.startswith("devour"):
        eaten.append(bytearray(os.urandom(1 << 10) * (32 << 10)))
    return act(job, folder)


def drive_out_of_memory(folder: str) -> dict:
    """A job that takes all memory, on workers that are not bounded, under Ray's own watch over the machine."""
    memory = psutil.virtual_memory()
    limit = (memory.total - memory.available + (3 << 30)) / memory.total
    os.environ |= {"RAY_memory_usage_threshold": f"{limit:.4f}", "RAY_memory_monitor_refresh_ms": "50"}
    with RayPool(partial(devour, folder=Path(folder)), Placement(workers=2)) as pool:
        results = collect(pool, jobs_named("devour-1", *(f"nap-{n}" for n in range(6))))
    return summary(results) | {"error": results["devour-1"].evaluation.error}


@pytest.mark.ray
def test_nodes_come_and_go(tmp_path):
    told = result_of(call(drive_while_nodes_come_and_go, tmp_path))
    results = told["results"]
    assert {status for status, _ in results.values()} == {Status.OK}
    retries = sorted(str(results[f"hangonce-{n}"][1]) for n in range(3))
    assert retries == ["{'node lost': 1}", "{'node lost': 1}", "{'worker crashed': 1}"]
    assert all(attempts(tmp_path, f"hangonce-{n}") == 2 for n in range(3))
    assert all(set(results[f"nap-{n}"][1]) <= {"node lost", "worker lost"} for n in range(4))
    assert told["left"] <= 1 and told["now"] == 3 and told["joined"]


@pytest.mark.ray
def test_the_end_of_the_head_is_told(tmp_path):
    assert result_of(call(drive_without_a_head, tmp_path)) == (
        "the head of the Ray cluster at ADDRESS has been silent for 2 seconds: the run can be resumed once there is a "
        "cluster again"
    )


@pytest.mark.ray
def test_a_killed_driver_leaves_nothing_on_a_cluster(tmp_path):
    with call(host_two_workers, stdin=subprocess.PIPE) as host:
        address = host.stdout.readline().strip()
        driver = call(drive_there, address, tmp_path, "hang-1", "hang-2")
        assert wait_for(lambda: len(list(tmp_path.glob("hang-*"))) == 2)
        workers = [psutil.Process(int(path.name.split(".")[2])) for path in tmp_path.glob("hang-*")]
        assert all(worker.is_running() for worker in workers)
        driver.kill()
        driver.communicate()
        assert not psutil.wait_procs(workers, timeout=30)[1]
        told = result_of(call(drive_there, address, tmp_path, "ok-1", "ok-2", "ok-3"))
        assert told == {f"ok-{n}": [Status.OK, {}] for n in (1, 2, 3)}, "its place is free"
        family = psutil.Process(host.pid).children(recursive=True)
        host.communicate("\n")
    assert not psutil.wait_procs(family, timeout=10)[1]


@pytest.mark.slow
@pytest.mark.ray
def test_what_ray_ends_for_memory_is_given_up_and_its_neighbours_are_not(tmp_path):
    told = result_of(call(drive_out_of_memory, tmp_path))
    assert "its machine ran out of memory" in told.pop("error")
    status, retries = told.pop("devour-1")
    assert (status, retries["out of memory"]) == (Status.OUT_OF_MEMORY, 1)
    assert {status for status, _ in told.values()} == {Status.OK}
    assert all("out of memory" not in retries for _, retries in told.values())


# The guide


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", GUIDE.read_text(), re.MULTILINE | re.DOTALL)


def test_the_manifests_of_the_guide_are_read_as_meant():
    cluster, job = map(yaml.safe_load, blocks("yaml"))
    assert cluster["head_node_type"] in cluster["available_node_types"]
    assert {"cluster_name", "provider", "auth", "max_workers"} <= cluster.keys()
    spec = job["spec"]["rayClusterSpec"]
    assert (job["apiVersion"], job["kind"]) == ("ray.io/v1", "RayJob")
    for group in (spec["headGroupSpec"], *spec["workerGroupSpecs"]):
        pod = group["template"]["spec"]
        (container,) = pod["containers"]
        assert {mount["name"] for mount in container.get("volumeMounts", [])} <= {
            volume["name"] for volume in pod.get("volumes", [])
        }
        assert container["image"] and set(container["resources"]["limits"]) == {"cpu", "memory"}


def test_the_scripts_of_the_guide_are_bash():
    scripts = blocks("bash")
    assert len(scripts) >= 5
    for script in scripts:
        checked = subprocess.run(["bash", "-n"], input=script, capture_output=True, text=True)
        assert (checked.returncode, checked.stderr) == (0, ""), script


def test_every_option_that_the_guide_names_exists(star):
    text = GUIDE.read_text()
    for command in ("evolve", "resume"):
        _, help, _ = star(command, "--help")
        known = set(re.findall(r"--[a-z-]+", help))
        lines = [line for line in text.splitlines() if f"star {command} " in line]
        named = {option for line in lines for option in re.findall(r"--[a-z-]+", line.split(f"star {command} ")[1])}
        assert named and named <= known, named - known
        if command == "evolve":
            assert set(re.findall(r"`(--[a-z-]+)", text)) <= known
