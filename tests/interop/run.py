"""Bezoar beside other people's released tools, both ways: `make interop`.

    python tests/interop/run.py            # makes the peers' environments at the first run (needs a package index)
    python tests/interop/run.py --keep DIR # and leaves the files there

Prints a table: what is tried, what each party should say, what each says. Exits with 1 when anything differs.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

import cases_croissant
import cases_faults
import cases_fetch
import cases_signatures
import cases_token
from environments import ours, peer
from parties import reference
from table import Table


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--keep", type=Path, metavar="DIR", help="work in this new folder and leave it")
    keep: Path | None = parser.parse_args().keep
    with tempfile.TemporaryDirectory(prefix="bezoar-interop-") as temporary:
        folder = keep or Path(temporary)
        folder.mkdir(parents=True, exist_ok=keep is None)
        table = Table()
        with reference(peer("model_signing")) as tool:
            cases_signatures.run(table, tool, folder / "signatures")
            cases_faults.run(table, tool, folder / "faults")
            cases_token.run(table, tool, ours(), folder / "token")
        cases_croissant.run(table, peer("mlcroissant"), folder / "croissant")
        cases_fetch.run(table, peer("mitmproxy"), peer("readers"), peer("img2dataset"), folder / "fetch")
    sys.stdout.write(table.text() + "\n")
    return 0 if table.holds else 1


if __name__ == "__main__":
    sys.exit(main())
