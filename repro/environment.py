"""Where a run happens: device, precision, versions, commit. What it holds is public in every record: no user, host
name, path or variable."""

import ctypes
import hashlib
import os
import platform
import shlex
import subprocess
import sys
from collections.abc import Sequence
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch

from repro.errors import UserError, redacted

#: the option whose value is a host
_HOST = "--ray-address"


def pick_device(wanted: str) -> torch.device:
    """Turn `auto`, `cpu`, `cuda` or `cuda:N` into a device; raises UserError where there is none such."""
    if wanted == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(wanted)
    except RuntimeError:
        raise UserError(f"--device {wanted}: not a device; expected auto, cpu, cuda or cuda:N") from None
    if device.type not in ("cpu", "cuda"):
        raise UserError(f"--device {wanted}: runs are made on cpu or cuda; name one of them")
    if device.type == "cpu" and wanted != "cpu":
        raise UserError(f"--device {wanted}: there is one CPU device; use --device cpu")
    if device.type == "cuda" and not torch.cuda.is_available():
        raise UserError(f"--device {wanted}: PyTorch sees no CUDA device; use --device cpu or install a CUDA build")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise UserError(f"--device {wanted}: this machine has {torch.cuda.device_count()} CUDA device(s), from cuda:0")
    return device


def pick_precision(wanted: str, device: torch.device) -> str:
    """Turn `auto` into bf16 where the hardware computes in it, else fp32."""
    if wanted != "auto":
        return wanted
    if device.type == "cuda":
        with torch.cuda.device(device):  # PyTorch asks the current one
            return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp32"
    return "bf16" if _cpu_flags() & {"avx512_bf16", "amx_bf16"} else "fp32"


def prepare(device: torch.device, precision: str, deterministic: bool, shared: bool = False) -> None:
    """Set the process-wide switches of PyTorch and of the C allocator that a run's speed and bits depend on.

    `shared`: other runs of this process train on the device. Then cuDNN chooses its algorithms by rules: to try them it
    waits for the whole device, whatever the others have queued there, and breaks what one of them is capturing.
    """
    if device.type == "cuda" and device.index is not None:
        torch.cuda.set_device(device)  # else the process would also hold a context on cuda:0
    # float32 means float32: TensorFloat-32 only where bfloat16 was asked for anyway.
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = precision != "fp32"
    torch.backends.cudnn.benchmark = not (deterministic or shared)
    if deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(deterministic)
    if device.type == "cpu" and sys.platform == "linux":
        _keep_freed_memory()


def env_class(device: torch.device, precision: str, deterministic: bool, numerics: int, compiled: bool = False) -> str:
    """Name the class within which equal keys should give equal results; fused operations round differently."""
    how = "deterministic" if deterministic else "relaxed"
    return f"{device.type}-{precision}-{how}-n{numerics}" + "-compiled" * compiled


def describe(device: torch.device) -> dict[str, Any]:
    """Return device, driver, versions and commit, as records hold them."""
    cuda = device.type == "cuda"
    return {
        "device": torch.cuda.get_device_name(device) if cuda else f"{_cpu_name()} ({torch.get_num_threads()} threads)",
        "driver": _driver() if cuda else None,
        "torch": torch.__version__,
        "cuda": torch.version.cuda if cuda else None,
        "python": platform.python_version(),
        **commit(),
    }


def commit() -> dict[str, Any]:
    """Return the checkout's commit, whether tracked files differ from it, and a hash of the difference.

    Looked up once a process: what it runs is what it has loaded, whatever the checkout becomes meanwhile.
    """
    return dict(_commit())


@cache
def _commit() -> dict[str, Any]:
    root = Path(__file__).resolve().parents[1]
    head = _git(root, "rev-parse", "HEAD") if (root / ".git").exists() else None
    if head is None:
        return {"commit": os.environ.get("REPRO_COMMIT", "unknown"), "dirty": None, "diff": None}
    diff = _git(root, "diff", "HEAD", "--", "repro", "experiments", "setup.cfg") or ""
    return {
        "commit": head.strip(),
        "dirty": bool(diff),
        "diff": hashlib.sha256(diff.encode()).hexdigest()[:12] if diff else None,
    }


def command(arguments: Sequence[str]) -> str:
    """Return the call of the program as records hold it: no paths out of the current folder, hosts or passwords."""
    return "repro " + shlex.join(_public(*pair) for pair in pairwise(["", *arguments]))


def _public(before: str, argument: str) -> str:
    option, equals, value = argument.partition("=") if argument.startswith("--") else ("", "", argument)
    if _HOST in (before, option) and value not in ("", "auto"):
        return f"{option}{equals}HOST"
    outside = value.startswith(("/", "~")) or ".." in value.split("/")
    return option + equals + ("PATH" if outside else redacted(value))


def relaxed_only(error: Exception) -> str | None:
    """Say that an operation has no deterministic form, where that is what PyTorch's error says, else None."""
    first = str(error).partition(", but ")[0]
    if not isinstance(error, RuntimeError) or "torch.use_deterministic_algorithms(True)" not in str(error):
        return None
    if "CUBLAS_WORKSPACE_CONFIG" in str(error):
        return "--deterministic: CUBLAS_WORKSPACE_CONFIG is set to what allows no equal bits; unset it, or give :4096:8"
    return f"--deterministic: {first} in PyTorch here; begin anew without it, with --force"


def _git(root: Path, *arguments: str) -> str | None:
    try:
        # Also where the checkout is another user's, as in many containers: git says nothing of such a one unasked.
        git = ["git", "-c", f"safe.directory={root}", *arguments]
        return subprocess.run(git, cwd=root, capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return None


def _cpu_flags() -> set[str]:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("flags"):
                return set(line.split(":")[1].split())
    except OSError:
        pass  # not Linux: no flags known, float32
    return set()


@cache
def _cpu_name() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":")[1].strip()
    except OSError:
        pass  # not Linux
    return platform.processor() or platform.machine()


@cache
def _driver() -> str | None:
    query = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        return subprocess.run(query, capture_output=True, text=True, check=True).stdout.split()[0]
    except (OSError, subprocess.CalledProcessError, IndexError):
        return None


def _keep_freed_memory() -> None:
    """Keep freed blocks in the process: activations of tens of MB are else mapped and page-faulted every step.

    Worth 20 % of a CPU training step. glibc's mallopt; other C libraries are left alone.
    """
    try:
        mallopt = ctypes.CDLL("libc.so.6").mallopt
    except (OSError, AttributeError):
        return
    m_trim_threshold, m_mmap_max = -1, -4
    mallopt(m_mmap_max, 0)
    mallopt(m_trim_threshold, 2**31 - 1)
