"""What the processes of a benchmark import, imported once: they are forked from a server that has loaded this.

It computes nothing on more than the calling thread, since threads do not survive a fork.
"""

from __future__ import annotations

from contextlib import suppress

import bezoar.bench.cell  # noqa: F401
from bezoar.bench.settings import SETTINGS
from bezoar.bench.version import trial_version

with suppress(Exception):  # whatever is wrong with it, the cell that needs it says so
    import torch._dynamo  # noqa: F401 - optimisers import it, which takes as long as torch itself

trial_version(next(iter(SETTINGS)))  # reads all the code, and remembers what it saw
