"""Ground truth of a poisoned copy: which records were poisoned, how, and what they were before."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from bezoar.data.dataset import Dataset
from bezoar.errors import InputError, LimitError

_KIND = "bezoar-poison-truth-1"
_MAX_BYTES = 512 * 2**20
Role = Literal["poison", "cover"]


@dataclass(frozen=True, slots=True)
class PoisonedRecord:
    """One record that an attack planted: its key in the copy, its label before and now, and figures of the change.

    `role` is "cover" for records that only hide the poison: they have the trigger and their right label.
    `figures` holds, as stored, the largest (`linf`) and Euclidean (`l2`) change of an image's pixels in levels
    of 255, or the `changed_characters` of a text (from the first to the last), and what the attack measures
    itself (`..._before`, `..._after`).
    """

    key: str
    role: Role
    original_label: int
    label: int
    figures: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Truth:
    """What was done to a dataset, so that a defence can be judged and the copy made again.

    Attributes:
        attack: registered name.
        paper: where the attack was published.
        parameters: the attack's fields.
        details: what the attack adds (the encoder and the target record of a feature collision).
        rate: share of all records that was to be poison.
        seed: of the choice of records and of everything random in the attack.
        bezoar: version that made the copy.
        clean_digest: digest of the dataset before.
        size: number of records in the dataset.
        label_names: the dataset's; labels are indices into it.
        records: poison and cover, in the dataset's order.

    """

    attack: str
    paper: str
    parameters: Mapping[str, Any]
    details: Mapping[str, Any]
    rate: float
    seed: int
    bezoar: str
    clean_digest: str
    size: int
    label_names: tuple[str, ...]
    records: tuple[PoisonedRecord, ...]

    def to_json(self) -> bytes:
        """As UTF-8 JSON; `read_truth` reads it back."""
        return json.dumps(
            {"kind": _KIND, **asdict(self)}, indent=1, ensure_ascii=False, allow_nan=False
        ).encode()


def read_truth(path: Path) -> Truth:
    """The ground truth in a sidecar written by `write_poisoned`; InputError when it is something else."""
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise LimitError(f"{path}: larger than {_MAX_BYTES >> 20} MiB; not a ground-truth file of Bezoar")
        fields = json.loads(path.read_bytes())
        if fields.pop("kind") != _KIND:
            raise ValueError("another kind of file")
        records = tuple(_record(entry) for entry in fields.pop("records"))
        truth = Truth(**{**fields, "label_names": tuple(map(str, fields["label_names"])), "records": records})
        _check(truth)
    except OSError as error:
        raise InputError(
            f"{path}: cannot be read ({error.strerror}); give the .truth.json of a copy"
        ) from error
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise InputError(
            f"{path}: not a ground-truth file of Bezoar; give the .truth.json of a copy"
        ) from error
    return truth


def truth_mask(truth: Truth, dataset: Dataset) -> NDArray[np.bool_]:
    """Which records of `dataset` are poison, shape (N,); cover is not.

    `dataset` is the poisoned copy or a selection from it; InputError when it is as large as the copy and yet
    lacks records of the truth: then the truth belongs to another dataset.
    """
    return _mask(truth, dataset, "poison")


def cover_mask(truth: Truth, dataset: Dataset) -> NDArray[np.bool_]:
    """Which records of `dataset` are cover, shape (N,): changed like poison, but rightly labelled.

    `dataset` and errors as for `truth_mask`.
    """
    return _mask(truth, dataset, "cover")


def _mask(truth: Truth, dataset: Dataset, role: Role) -> NDArray[np.bool_]:
    keys = [record.key for record in truth.records if record.role == role]
    mask = np.asarray(
        pc.is_in(dataset.keys, value_set=pa.array(keys, pa.string())).to_numpy(zero_copy_only=False),
        dtype=np.bool_,
    )
    if len(dataset) >= truth.size and mask.sum() != len(keys):
        missing = len(keys) - int(mask.sum())
        raise InputError(
            f"{dataset.path}: lacks {missing} of the ground truth's records; give the truth of this copy"
        )
    return mask


def _record(entry: Mapping[str, Any]) -> PoisonedRecord:
    if entry["role"] not in get_args(Role):
        raise ValueError("an unknown role")
    figures = {str(name): float(value) for name, value in entry["figures"].items()}
    return PoisonedRecord(
        str(entry["key"]), entry["role"], int(entry["original_label"]), int(entry["label"]), figures
    )


def _check(truth: Truth) -> None:
    texts = (truth.attack, truth.paper, truth.bezoar, truth.clean_digest)
    mappings = (truth.parameters, truth.details)
    if not all(isinstance(text, str) for text in texts) or not all(
        isinstance(part, dict) for part in mappings
    ):
        raise TypeError("a field has another type")
    if (
        not isinstance(truth.rate, float)
        or not isinstance(truth.seed, int)
        or not isinstance(truth.size, int)
    ):
        raise TypeError("a field has another type")
    known = range(-1, len(truth.label_names))
    if not all(record.label in known and record.original_label in known for record in truth.records):
        raise ValueError("a label is out of range")
