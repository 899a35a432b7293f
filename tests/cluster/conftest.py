"""A Ray cluster on this machine's loopback, commands that use it, and an MLflow server for them.

With REPRO_CLUSTER=1 (`make test-cluster`) and Ray installed; skipped else.
"""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
sys.path.insert(0, str(HERE.parent / "faults"))
ADDRESS = "127.0.0.2"  # 127.0.0.1 is taken for the machine's outer address, where nobody listens
EPOCH_S = 0.4
YAML = (HERE.parent / "faults" / "faulty.py").read_text().partition('YAML = """\\\n')[2].partition('"""')[0]
RUNS = ("run", "--all", "--profile", "quick", "--seeds", "0-2", "--device", "cpu", "--precision", "fp32")


def pytest_collection_modifyitems(items):
    """Skip all of it, and say why, where it cannot or should not run."""
    reason = "" if os.environ.get("REPRO_CLUSTER") else "REPRO_CLUSTER is not set (`make test-cluster` sets it)"
    try:
        import ray  # noqa: F401
    except ImportError:
        reason = "Ray is not installed (pip install -e '.[ray]')"
    for item in items:
        if reason and HERE in Path(item.fspath).parents:
            item.add_marker(pytest.mark.skip(reason=reason))


def environment(folder):
    """Return the environment of processes in a folder: one thread, small runs, no settings from outside."""
    drop = ("MLFLOW_TRACKING_URI", "REPRO_EXPERIMENTS", "RAY_ADDRESS")
    path = os.pathsep.join(map(str, (HERE / "small", ROOT, HERE.parent / "faults")))
    return {key: value for key, value in os.environ.items() if key not in drop} | {
        "PYTHONPATH": path, "OMP_NUM_THREADS": "1", "REPRO_TEST_EPOCH_S": str(EPOCH_S), "RAY_USAGE_STATS_ENABLED": "0",
        "REPRO_HOME": str(folder / "state"), "MLFLOW_DISABLE_TELEMETRY": "true",
    }  # fmt: skip


class Place:
    """A folder with one small report and a state folder, and commands in it."""

    runs = RUNS

    def __init__(self, folder, address=""):
        self.folder, self.home, self.address, self.uri = folder, folder / "state", address, ""
        self.offline = True  # where no server is named
        (folder / "experiments").mkdir(parents=True)
        (folder / "experiments" / "tiny.yaml").write_text(YAML)
        self.processes = []

    def start(self, *arguments):
        """Start `repro ...` on the cluster, or on this machine alone where the place has none."""
        more = ("--executor", "ray", "--ray-address", self.address) if self.address else ()
        env = environment(self.folder) | ({"MLFLOW_TRACKING_URI": self.uri} if self.uri else {})
        offline = () if self.uri or not self.offline else ("--offline",)
        code = "import sys; import repro.execute.remote; from repro.cli import main; sys.argv[0] = 'repro'; main()"
        output = self.folder / f"output-{len(self.processes)}.txt"
        with open(output, "w") as file:
            process = subprocess.Popen(
                [sys.executable, "-c", code, *(arguments or RUNS), *more, *offline], cwd=self.folder, env=env,
                stdout=file, stderr=subprocess.STDOUT, start_new_session=True,
            )  # fmt: skip
        process.output = output
        self.processes.append(process)
        return process

    def ended(self, process, within=240):
        """Wait for a process; return its exit code and output."""
        try:
            return process.wait(within), process.output.read_text()
        except subprocess.TimeoutExpired:
            raise AssertionError(f"still running after {within} s:\n{process.output.read_text()}") from None

    def run(self, *arguments, code=0):
        """Run `repro ...` to its end; return what it prints, asserting its exit code."""
        found, said = self.ended(self.start(*arguments))
        assert found == code, said
        return said

    def stop(self):
        for process in self.processes:
            if process.poll() is None:
                process.kill()
                process.wait()


@pytest.fixture(scope="session")
def cluster(tmp_path_factory):
    """Return a cluster of one machine with two CPUs, which stays; tests add machines and take them away."""
    from ray.cluster_utils import Cluster

    before = dict(os.environ)
    os.environ.clear()
    os.environ.update(environment(tmp_path_factory.mktemp("cluster")))
    head = {"num_cpus": 1, "object_store_memory": 80 << 20, "node_ip_address": ADDRESS, "include_dashboard": False}
    made = Cluster(initialize_head=True, head_node_args=head)
    yield made
    made.shutdown()
    os.environ.clear()
    os.environ.update(before)


@pytest.fixture
def machine(cluster):
    """Return a second machine of the cluster, with one CPU, which a test may kill."""
    node = cluster.add_node(num_cpus=1, object_store_memory=80 << 20, node_ip_address=ADDRESS)
    yield node
    if node in cluster.worker_nodes:
        cluster.remove_node(node)


@pytest.fixture
def places(tmp_path, cluster):
    """Return a maker of places: on the cluster, or with `alone=True` without one."""
    made = []

    def make(name, alone=False):
        made.append(Place(tmp_path / name, "" if alone else cluster.address))
        return made[-1]

    yield make
    for place in made:
        place.stop()


@pytest.fixture(scope="session")
def expected(tmp_path_factory):
    """Return what the six runs leave when one process makes one after the other."""
    from holding import outcome

    place = Place(tmp_path_factory.mktemp("alone") / "place")
    place.run("run", *RUNS[1:], "-q")
    return outcome(place.home)


class Server:
    """An MLflow server over HTTP on one port, which can be stopped and started again."""

    def __init__(self, folder, template):
        self.folder, self.process = folder, None
        folder.mkdir()
        shutil.copy(template, folder / "mlflow.db")
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.uri, self.database = f"http://127.0.0.1:{self.port}", folder / "mlflow.db"
        self.start()

    def start(self):
        from repro.track import ui_command, ui_env

        env = {key: value for key, value in os.environ.items() if key != "MLFLOW_TRACKING_URI"} | ui_env()
        with open(self.folder / "server.txt", "a") as file:
            self.process = subprocess.Popen(
                ui_command(self.folder, self.port), stdout=file, stderr=subprocess.STDOUT, start_new_session=True,
                cwd=self.folder, env=env,
            )  # fmt: skip
        until = time.monotonic() + 120
        while True:
            assert time.monotonic() < until, (self.folder / "server.txt").read_text()
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=1):
                return
            time.sleep(0.2)

    def stop(self):
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


@pytest.fixture
def server(tmp_path, mlflow_template):
    """Return a running MLflow server."""
    made = Server(tmp_path / "server", mlflow_template)
    yield made
    made.stop()
