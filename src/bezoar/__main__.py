"""`python -m bezoar`."""

from __future__ import annotations

import sys

from bezoar.cli import main

if __name__ == "__main__":
    sys.exit(main())
