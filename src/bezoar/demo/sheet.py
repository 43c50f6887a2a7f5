"""Contact sheets for the docs: `python -m bezoar.demo.sheet signs docs/images/signs.png`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from bezoar.demo.creatures import CREATURES, render_creature
from bezoar.demo.signs import CLASS_NAMES, render
from bezoar.errors import UsageError
from bezoar.seeds import generator

_SEED = 7
_GAP = 4


def contact_sheet(rows: Sequence[Sequence[NDArray[np.uint8]]], cell: int) -> Image.Image:
    """Pictures (uint8, H x W x 3) in a grid of `cell`-pixel squares; smaller ones are enlarged blockwise."""
    columns = max(len(row) for row in rows)
    step = cell + _GAP
    sheet = Image.new("RGB", (columns * step + _GAP, len(rows) * step + _GAP), "white")
    for i, row in enumerate(rows):
        for j, pixels in enumerate(row):
            picture = Image.fromarray(pixels).resize((cell, cell), Image.Resampling.NEAREST)
            sheet.paste(picture, (_GAP + j * step, _GAP + i * step))
    return sheet


def signs_sheet() -> Image.Image:
    """Every class once at 96 x 96, then three times as the 32 x 32 images that the demo trains on."""
    half = len(CLASS_NAMES) // 2
    rows = []
    for labels in (range(half), range(half, len(CLASS_NAMES))):
        for number, size in enumerate((96, 32, 32, 32)):
            rows.append([render(i, generator(_SEED, "sheet", number, i), size) for i in labels])
    return contact_sheet(rows, 96)


def creatures_sheet() -> Image.Image:
    """Frogs and planes: a row of each at 96 x 96, then two at the 32 x 32 of the demo."""
    rows = []
    for kind in CREATURES:
        for number, size in enumerate((96, 32, 32)):
            rows.append([render_creature(kind, generator(_SEED, kind, number, i), size) for i in range(9)])
    return contact_sheet(rows, 96)


def main(arguments: Sequence[str]) -> None:
    """Write the sheet `arguments[0]` to the path `arguments[1]`."""
    if len(arguments) != 2 or arguments[0] not in _SHEETS:
        raise UsageError(f"usage: python -m bezoar.demo.sheet {'|'.join(_SHEETS)} OUT.png")
    sheet = _SHEETS[arguments[0]]().quantize(
        256, method=Image.Quantize.MAXCOVERAGE
    )  # a palette halves the file and nobody sees it
    sheet.save(Path(arguments[1]), optimize=True)


_SHEETS = {"signs": signs_sheet, "creatures": creatures_sheet}

if __name__ == "__main__":
    main(sys.argv[1:])
