"""Virtual environments of the peers, made once under ~/.cache/bezoar/interop and kept."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import sysconfig
import venv
from dataclasses import dataclass
from pathlib import Path

from table import note

CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "bezoar" / "interop"

# model-signing 1.1.1 needs pyopenssl to import at all, and says so nowhere
PEERS = {
    "model_signing": ["model-signing[pkcs11]==1.1.1", "pyopenssl"],
    "mlcroissant": ["mlcroissant[parquet]==1.1.1"],
    "mitmproxy": ["mitmproxy==11.0.2"],
    "img2dataset": ["img2dataset==1.47.0"],
    "readers": ["datasets==5.2.0", "webdataset==1.0.2", "pillow"],
}
EXTRAS = ["python-pkcs11>=0.8,<1", "ray>=2.40,<3", "sigstore>=4,<5"]


@dataclass(frozen=True)
class Environment:
    """A virtual environment."""

    folder: Path

    @property
    def python(self) -> Path:
        return self.folder / "bin" / "python"

    def program(self, name: str) -> Path:
        return self.folder / "bin" / name


def peer(name: str) -> Environment:
    """The environment of one of PEERS."""
    return _environment(name, PEERS[name], None)


def ours() -> Environment:
    """The environment that this runs in, and Bezoar's extras for tokens, keyless signing and clusters on top of it."""
    return _environment("bezoar-extras", EXTRAS, sysconfig.get_path("purelib"))


def _environment(name: str, requirements: list[str], below: str | None) -> Environment:
    key = hashlib.sha256(repr((requirements, below, sys.version_info[:2])).encode()).hexdigest()[:12]
    found = Environment(CACHE / f"{name}-{key}")
    done = found.folder / ".complete"
    if not done.is_file():
        note(f"... making {found.folder}")
        shutil.rmtree(found.folder, ignore_errors=True)
        venv.create(found.folder, with_pip=True)
        pip = [found.python, "-m", "pip", "--disable-pip-version-check", "-q", "--no-input", "install"]
        subprocess.run([*pip, *requirements], check=True)
        if below is not None:
            folder = next((found.folder / "lib").glob("python*/site-packages"))
            (folder / "zz_below.pth").write_text(f"import site; site.addsitedir({below!r})\n")
        done.touch()
    return found
