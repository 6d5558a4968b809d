"""The placement of the workers of a run, and the share of a machine that each may take."""

from dataclasses import dataclass

ROUNDING = 1e-9  # three workers with a third of a GPU each fill one


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """The number of workers, where they run, and their bounds."""

    workers: int = 0  # 0: one for each core that there is, while machines come and go
    address: str = ""  # of a running Ray cluster; empty: a private one on this machine, ended with the pool
    timeout: float = 0.0  # seconds for one job; 0: no limit
    tries: int = 3  # of a job that ends its worker, before it is given up
    worker_memory: float = 0.0  # bytes that a worker may use; 0: an equal share of its machine
    gpus_per_worker: float = 0.0  # below 1: so many workers share one; above: whole
    store_bytes: int = 0  # that `evaluate` holds, so that the private object store has room for it

    def room(self, resources: dict[str, float]) -> int:
        """Return how many workers a machine holds with these resources, by Ray's names, in cores, GPUs and bytes."""
        rooms = [resources.get("CPU", 0.0)]
        if self.gpus_per_worker:
            gpus = resources.get("GPU", 0.0)
            # A share lies on one GPU.
            each = 1 / self.gpus_per_worker + ROUNDING
            rooms.append(gpus * int(each) if self.gpus_per_worker <= 1 else gpus * each)
        if self.worker_memory:
            rooms.append(resources.get("memory", 0.0) / self.worker_memory)
        return int(min(rooms))

    def memory(self, resources: dict[str, float]) -> float:
        """Return the bytes that each worker on such a machine may use."""
        return self.worker_memory or resources.get("memory", 0.0) / max(1, self.room(resources))

    def describe(self) -> str:
        """Return what one worker takes, in words."""
        parts = ["1 core"]
        if self.gpus_per_worker:
            parts.append(f"{self.gpus_per_worker:g} GPUs")
        if self.worker_memory:
            parts.append(f"{self.worker_memory / 1e9:.3g} GB of memory")
        return " and ".join([", ".join(parts[:-1]), parts[-1]] if parts[1:] else parts)
