"""The examples for clusters parse, and the commands and options in them exist."""

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from repro.cli import main
from repro.cli.options import TIERS

EXAMPLES = Path(__file__).parents[1] / "docs" / "examples"
SLURM = (EXAMPLES / "slurm.sbatch").read_text()
CLAIM, JOB = yaml.safe_load_all((EXAMPLES / "kuberay.yaml").read_text())


def commands():
    """Return the words behind `repro` of every example."""
    text = SLURM.replace("\\\n", " ")
    found = re.findall(r"^[^#\n]*\brepro (run [^\n]*)", text, re.MULTILINE)
    return [shlex.split(words) for words in [*found, JOB["spec"]["entrypoint"].removeprefix("repro ")]]


def test_commands_of_the_examples_are_accepted():
    assert len(commands()) == 2
    for words in commands():
        command = main.commands[words[0]]
        context = command.make_context("run", words[1:])  # parses; raises for what is not known
        given = context.params
        assert (given["executor"], given["ray_address"], given["everything"]) == ("ray", "auto", True)
        assert set(given["tiers"]) < set(TIERS)


def test_the_slurm_script_is_sound_bash():
    bash = shutil.which("bash")
    assert subprocess.run([bash, "-n", EXAMPLES / "slurm.sbatch"], capture_output=True).returncode == 0
    settings = dict(re.findall(r"^#SBATCH --([a-z-]+)=(\S+)$", SLURM, re.MULTILINE))
    assert settings["ntasks-per-node"] == "1"
    assert f"--num-gpus {settings['gpus-per-node']} --num-cpus {settings['cpus-per-task']} " in SLURM
    assert settings["nodes"].isdecimal()


def test_pods_share_the_state_folder_and_have_what_runs_take():
    cluster = JOB["spec"]["rayClusterSpec"]
    assert (CLAIM["spec"]["accessModes"], JOB["kind"]) == (["ReadWriteMany"], "RayJob")
    groups = [cluster["headGroupSpec"], *cluster["workerGroupSpecs"]]
    for group in groups:
        pod = group["template"]["spec"]
        (container,) = pod["containers"]
        env = {one["name"]: one["value"] for one in container["env"]}
        (mount,), (volume,) = container["volumeMounts"], pod["volumes"]
        assert mount["mountPath"] == env["REPRO_HOME"]
        assert mount["name"] == volume["name"]
        assert volume["persistentVolumeClaim"]["claimName"] == CLAIM["metadata"]["name"]
        assert env["MLFLOW_TRACKING_URI"].startswith("http")
    assert groups[1]["template"]["spec"]["containers"][0]["resources"]["limits"]["nvidia.com/gpu"] == 1


@pytest.mark.parametrize("words", [["symmetric-run"]])
def test_ray_has_the_commands(words):
    pytest.importorskip("ray", reason="Ray is not installed (pip install -e '.[ray]')")
    done = subprocess.run(
        [sys.executable, "-m", "ray.scripts.scripts", *words, "--help"], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0
    for option in ("--address", "--min-nodes"):
        assert option in done.stdout
