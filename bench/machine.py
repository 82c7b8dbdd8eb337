"""What the figures were taken on."""

import os
import platform
import subprocess
import time
from importlib import metadata
from pathlib import Path
from typing import Any

PACKAGES = (
    "dinolake", "numpy", "torch", "timm", "openvino", "av", "opencv-python-headless", "pillow", "faiss-cpu",
    "pyarrow", "duckdb", "dagster", "ray", "daft", "lancedb", "pylance", "clip-retrieval",
)  # fmt: skip
BUSY_LOAD = 0.5  # a core


def machine() -> dict[str, Any]:
    """Processor, memory, load and versions, as they are now."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return {
        "taken": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "cpu": _cpu_facts().get("model name") or platform.processor() or platform.machine(),
        "cores": cores,
        "has_avx512_bf16": "avx512_bf16" in _cpu_facts().get("flags", "").split(),
        "memory_gb": round(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30, 1),
        "load_at_start": round(os.getloadavg()[0], 2),
        "system": platform.platform(),
        "python": platform.python_version(),
        "code": _code(),
        "packages": {name: _version(name) for name in PACKAGES},
    }


def busy_warning(taken: dict[str, Any]) -> str:
    """What to think of figures from a busy machine; empty where it isn't."""
    load, cores = taken["load_at_start"], taken["cores"]
    if load <= BUSY_LOAD * cores:
        return ""
    return (
        f"the machine was busy at the start: a load of {load:g} on {cores} cores. Only the calmest pairs "
        "count; where even those say BUSY, eager torch suffered more than ours, and the ratio flatters ours."
    )


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "not installed"


def _code() -> str:
    """The commit that was measured, and whether anything was changed since."""
    git = ["git", "-C", str(Path(__file__).parent)]
    try:
        commit, changes = (
            subprocess.run([*git, *rest], capture_output=True, text=True, check=True).stdout.strip()
            for rest in (["rev-parse", "--short", "HEAD"], ["status", "--porcelain"])
        )
    except (OSError, subprocess.CalledProcessError):
        return "no commit is known"
    return f"commit {commit}{', with changes that are in no commit' if changes else ''}"


def _cpu_facts() -> dict[str, str]:
    """The first processor's entries of /proc/cpuinfo; none where there is no such file."""
    file = Path("/proc/cpuinfo")
    first = file.read_text().split("\n\n")[0] if file.is_file() else ""
    return {
        key.strip(): value.strip() for key, _, value in (row.partition(":") for row in first.splitlines())
    }
