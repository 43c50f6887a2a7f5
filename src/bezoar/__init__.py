"""Bezoar keeps poison out of training data.

The public names are loaded on first use, so that `import bezoar` stays fast.
"""

from __future__ import annotations

__version__ = "0.1.0"
