"""The virtual environment in which the benchmarks run other libraries, each at one pinned release from the package index."""

from __future__ import annotations

import os
import shlex
import subprocess
import venv
from collections.abc import Iterable
from pathlib import Path

FOLDER = Path(__file__).parent.parent / "build" / "peers"
RELEASES = {
    "numpy": "numpy==2.4.6",
    "scikit-learn": "scikit-learn==1.9.1",
    "faiss-cpu": "faiss-cpu==1.15.1",
    "pyod": "pyod==3.6.7",
    "cleanlab": "cleanlab[datalab]==2.9.0",
    "torch": os.environ.get("TORCH")
    or "torch==2.13.0",  # as in the Makefile: may name an index after the release
    "packaging": "packaging==26.3",  # ART imports it and does not ask for it
    "adversarial-robustness-toolbox": "adversarial-robustness-toolbox==1.20.1",
}


def python_with(packages: Iterable[str], folder: Path = FOLDER) -> Path:
    """The interpreter of the environment `folder`, in which the releases of `packages` are installed."""
    python, stamp = folder / "bin" / "python", folder / ".installed"
    if not python.exists():
        venv.create(folder, with_pip=True)
    installed = stamp.read_text().splitlines() if stamp.exists() else []
    for release in (RELEASES[name] for name in packages):
        if release not in installed:  # one at a time: an index that one of them names is for that one alone
            print(f"installing {release} in {folder}", flush=True)
            pip = [python, "-m", "pip", "--disable-pip-version-check", "install", "-q"]
            subprocess.run([*pip, *shlex.split(release)], check=True)
            installed.append(release)
            stamp.write_text("\n".join(installed) + "\n")
    return python
