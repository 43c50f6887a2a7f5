"""The command line: one thin module per verb."""

from __future__ import annotations

from bezoar.cli.main import main

__all__ = ["main"]
