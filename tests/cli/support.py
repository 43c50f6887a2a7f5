"""Small real datasets on disk, and the command line run in this process."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from bezoar.data.dataset import Dataset
from bezoar.scan.result import Finding, ScanResult, Severity, Status, Verdict

LABELS = ("Stop", "Yield")


@dataclass(frozen=True)
class Outcome:
    code: int
    out: str
    err: str

    @property
    def error(self) -> str:
        """The one line on standard error."""
        lines = [line for line in self.err.splitlines() if line.strip()]
        assert len(lines) == 1, self.err
        assert "Traceback" not in self.err
        return lines[0]


Cli = Callable[..., Outcome]


def png(seed: int, side: int = 16) -> bytes:
    """A small picture that no other seed has."""
    pixels = np.random.default_rng(seed).integers(0, 256, (side, side, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def jpeg(seed: int, side: int = 16) -> bytes:
    buffer = io.BytesIO()
    Image.open(io.BytesIO(png(seed, side))).save(buffer, "JPEG")
    return buffer.getvalue()


def image_folder(path: Path, per_class: int = 4, labels: Sequence[str] = LABELS) -> Path:
    for place, label in enumerate(labels):
        (path / label).mkdir(parents=True)
        for number in range(per_class):
            (path / label / f"{number:03d}.png").write_bytes(png(1000 * place + number))
    return path


def parquet(path: Path, per_class: int = 4, labels: Sequence[str] = LABELS) -> Path:
    names = [label for label in labels for _ in range(per_class)]
    image = [{"bytes": png(n), "path": f"{n:03d}.png"} for n in range(len(names))]
    pq.write_table(pa.table({"image": image, "label": names}), path)
    return path


def tar(path: Path, members: dict[str, bytes]) -> Path:
    with tarfile.open(path, "w") as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path


def fake_scan(
    flag: Sequence[int] = (), review: Sequence[int] = (), status: Status | None = None
) -> Callable[..., ScanResult]:
    """A scan that finds what it is told to: the command line is tested apart from the detectors."""

    def scan(dataset: Dataset, *, encoder: str, seed: int, alpha: float, **_: object) -> ScanResult:
        finding_of = np.full(len(dataset), -1, np.int32)
        findings = []
        for severity, records in ((Severity.POISON, flag), (Severity.REVIEW, review)):
            if records:
                finding_of[list(records)] = len(findings)
                findings.append(
                    Finding("test", severity, "a title", "why", np.array(records), 0.001, target=1)
                )
        counts = np.bincount(dataset.labels, minlength=len(dataset.label_names))
        scores = pa.table(
            {
                "key": dataset.keys,
                "label": [dataset.label_names[label] for label in dataset.labels],
                "readable": np.ones(len(dataset), bool),
                "finding": finding_of,
                "flagged": np.isin(np.arange(len(dataset)), list(flag)),
            }
        )
        return ScanResult(
            path=str(dataset.path),
            format=dataset.format,
            digest=dataset.digest,
            n_records=len(dataset),
            label_names=dataset.label_names,
            label_counts=tuple(counts.tolist()),
            encoder=encoder,
            seed=seed,
            version="test",
            verdict=Verdict(status or (Status.POISONED if flag else Status.CLEAN), alpha, "A summary."),
            findings=tuple(findings),
            unreadable=(),
            scores=scores,
            seconds={"all": 0.1},
        )

    return scan
