"""A head that does not answer is told within seconds, whoever names it; and directories that Ray cannot use."""

import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from support.cluster import call, make_cluster, result_of
from support.paths import importing

from star.errors import UserError
from star.workers.address import CONNECT_SECONDS, Address, Head, find_address, knock
from star.workers.placement import Placement
from star.workers.ray_pool import RayPool
from star.workers.session import LONGEST_SOCKET, SOCKET, find_temp_dir

WORK = """
import os, sys
from star.workers.placement import Placement
from star.workers.session import connected
import ray
with connected(Placement(workers=1)):
    print(ray.get(ray.remote(lambda: 5).remote()), ray.get_runtime_context().get_temp_dir())
print(sorted(name for name in os.environ if name.startswith("RAY_AUTH")))
"""


@pytest.fixture(autouse=True)
def unset(monkeypatch):
    for name in ("RAY_ADDRESS", "RAY_TMPDIR", "TMPDIR"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def short():
    """A directory with a short path: those of pytest leave no room for sockets."""
    with TemporaryDirectory(dir="/tmp") as folder:
        yield Path(folder)


@contextmanager
def listening(answer: bytes | None):
    """A server that accepts connections, and sends this or, if None, nothing."""
    code = "import socket, sys; s = socket.create_server(('127.0.0.1', 0)); print(s.getsockname()[1], flush=True)\n"
    code += "c = s.accept()[0]\n" if answer is not None else ""
    code += f"c.sendall({answer!r})\n" if answer else ""
    code += "sys.stdin.read()"
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen([sys.executable, "-c", code], **pipes) as server:
        yield int(server.stdout.readline())
        server.stdin.close()


def refusal(address: str) -> str:
    """What the pool says, within seconds."""
    begun = time.monotonic()
    with pytest.raises(UserError) as refused, RayPool(print, Placement(address=address)):
        pass
    assert time.monotonic() - begun < CONNECT_SECONDS + 5
    assert "\n" not in str(refused.value)
    return str(refused.value)


def test_a_dead_head_by_address():
    for address in ("127.0.0.1:1", "ray://127.0.0.1:1", "[::1]:1"):
        assert refusal(address).startswith(f"nothing answers at {address}: ")


def test_a_dead_head_by_the_environment(monkeypatch):
    for address in ("127.0.0.1:1", "ray://127.0.0.1:1"):
        monkeypatch.setenv("RAY_ADDRESS", address)
        assert refusal("auto").startswith(f"nothing answers at {address} (from the variable RAY_ADDRESS): ")


def test_a_dead_head_by_the_file_that_ray_leaves(monkeypatch, tmp_path):
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))
    (tmp_path / "ray").mkdir()
    file = tmp_path / "ray" / "ray_current_cluster"
    file.write_text("127.0.0.1:1\n")
    monkeypatch.setattr("ray._private.services.find_gcs_addresses", cache(frozenset))  # whatever runs on this machine
    assert refusal("auto").startswith(f"nothing answers at 127.0.0.1:1 (from the file {file}): ")
    file.unlink()
    assert refusal("auto").startswith("no Ray cluster was found on this machine: ")


def test_what_is_no_address(monkeypatch):
    for address in ("host", "host:port", "127.0.0.1:", ":6379", "http://host:1/", "ray://host:port"):
        assert refusal(address).startswith(f"{address} is no address of a Ray cluster: it is auto, HOST:PORT")
    monkeypatch.setenv("RAY_ADDRESS", "nonsense")
    assert refusal("auto").startswith("nonsense (from the variable RAY_ADDRESS) is no address")


def test_addresses():
    assert find_address("") == find_address("local") == Address("")
    assert find_address("[::1]:6379") == Address("[::1]:6379", "::1", 6379)
    assert find_address("ray://head") == Address("ray://head", "head", 10001)
    assert find_address("ray://head:5") == Address("ray://head:5", "head", 5)


@pytest.mark.parametrize("answer", [None, b"", b"HTTP/1.1 400 Bad Request\r\n\r\n"])
def test_what_listens_and_is_not_ray(answer):
    with listening(answer) as port:
        begun = time.monotonic()
        with pytest.raises(OSError):
            knock(Address("", "127.0.0.1", port), 1.0)
        assert time.monotonic() - begun < 5


def look_at_a_head_that_is_paused() -> list[bool]:
    """The kernel goes on accepting connections for it."""
    cluster, _ = make_cluster({})
    head, process = Head(find_address(cluster.address)), cluster.head_node.all_processes["gcs_server"][0].process
    answers = [head.answers()]
    for sign in (signal.SIGSTOP, signal.SIGCONT):
        process.send_signal(sign)
        if sign == signal.SIGSTOP:  # which reaches one thread after the other: one that still runs would answer
            assert os.WIFSTOPPED(os.waitpid(process.pid, os.WUNTRACED)[1])
        answers.append(head.answers())
    cluster.shutdown()
    return [*answers, head.answers()]


@pytest.mark.ray
def test_a_paused_head_is_silent():
    assert result_of(call(look_at_a_head_that_is_paused)) == [True, False, True, False]


# Where Ray works


def test_a_directory_whose_path_is_too_long_is_passed_over(monkeypatch, short):
    longest = LONGEST_SOCKET - len(str(short / "x" / "ray" / SOCKET)) + 1
    fits, too_long = short / ("x" * longest), short / ("x" * (longest + 1))
    for folder, expected in ((fits, fits), (too_long, Path("/tmp"))):
        monkeypatch.setenv("TMPDIR", str(folder))
        assert find_temp_dir() == expected / "ray"
    with socket.socket(socket.AF_UNIX) as one:
        path = fits / "ray" / SOCKET
        path.parent.mkdir(parents=True)
        one.bind(str(path))  # the system agrees, to the byte
    assert len(str(path)) == LONGEST_SOCKET


def test_a_directory_that_cannot_be_written_is_passed_over(monkeypatch, short):
    (short / "file").touch()
    monkeypatch.setenv("TMPDIR", str(short / "file"))
    assert find_temp_dir() == Path("/tmp/ray")
    monkeypatch.setenv("RAY_TMPDIR", str(short))
    assert find_temp_dir() == short / "ray"


def test_without_any_directory_one_sentence_says_so(monkeypatch):
    def refuse(*args, **kwargs):
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(Path, "mkdir", refuse)
    monkeypatch.setenv("TMPDIR", "/" + 200 * "x")
    with pytest.raises(UserError, match="xxx/ray is too long for .*, /tmp/ray: Read-only file system, /var/tmp/ray: "):
        find_temp_dir()


@pytest.mark.ray
def test_ray_begins_without_a_home_and_with_a_long_path_for_temporary_files(tmp_path):
    """And leaves no token: neither where others can read it, nor in the environment of this process."""
    deep = tmp_path / ("x" * 100)
    deep.mkdir()
    for home in ("/dev/null/nowhere", str(tmp_path)):
        environment = importing() | {"HOME": home, "TMPDIR": str(deep)}
        environment = {name: value for name, value in environment.items() if not name.startswith("RAY_AUTH")}
        done = subprocess.run([sys.executable, "-c", WORK], capture_output=True, text=True, env=environment)
        assert (done.stdout.split(), done.stderr) == (["5", "/tmp/ray", "[]"], "")
    assert [one.name for one in tmp_path.iterdir()] == [deep.name]
    assert os.listdir(deep) == []
