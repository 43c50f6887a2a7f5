"""The plug-in point for attacks: published ways to poison a dataset, used to measure the defences.

An attack is a frozen dataclass of parameters. `prepare` binds it to a dataset and gives a `Crafter`, which
turns chosen records into poison; choosing records, formats and ground truth are `poison`'s. What an attack
can do beyond that is said by its type:

- `Triggered`: a trigger can be put on held-out records, to measure how often a model obeys it;
- `Covered`: further records get the trigger and keep their right label;
- neither: one target record is to be misread (the crafter's details name it: `target_key`, and the label
  that it should be given: `target_becomes`), or training is disturbed as such.

`bezoar.attacks.defaults` has what most attacks share.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Literal, Protocol, TypeVar, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from bezoar.data.dataset import Dataset, Modality
from bezoar.errors import UsageError
from bezoar.registry import Registry

Images = NDArray[np.uint8]  # (n, H, W, 3), RGB
Texts = list[str]  # n texts
Labels = NDArray[np.integer[Any]]  # -1 where a record has none
Mask = NDArray[np.bool_]
Stored = Callable[[Any], Any]  # one sample (pixels (H, W, 3) or a text) to what a reader will get back
Need = Literal["encoder", "surrogate"]
Samples = TypeVar("Samples")  # Images or Texts


class GradientEncoder(Protocol):
    """What an attack needs of an encoder to follow its gradient (`bezoar.embed.DifferentiableEncoder`)."""

    @property
    def name(self) -> str:
        """What it is called."""
        ...

    @property
    def size(self) -> int:
        """Side of its images, in pixels."""
        ...

    @property
    def digest(self) -> str:
        """SHA-256 (hex) of all that determines the features."""
        ...

    def torch_module(self) -> Any:
        """A `torch.nn.Module`: float images (N, 3, size, size) in [0, 1] to features (N, D)."""
        ...


class Surrogate(Protocol):
    """A classifier trained on the clean dataset, in whose stead of the victim's an attack can reckon."""

    @property
    def name(self) -> str:
        """What it is called."""
        ...

    @property
    def size(self) -> int:
        """Side of its images, in pixels."""
        ...

    @property
    def digest(self) -> str:
        """SHA-256 (hex) of its weights."""
        ...

    @property
    def module(self) -> Any:
        """A `torch.nn.Module` in eval mode: float images (N, 3, size, size) in [0, 1] to logits (N, K)."""
        ...

    @property
    def features(self) -> Any:
        """The module without its last layer: to features (N, D)."""
        ...


class Crafter(Protocol[Samples]):
    """An attack bound to one dataset."""

    def craft(self, samples: Samples, rng: np.random.Generator, stored: Sequence[Stored]) -> Samples:
        """Poisoned copies of images (n, H, W, 3) or n texts, which are left alone.

        `stored` says for each what it becomes when it is stored in its container (JPEG changes pixels). A
        sample that comes back equal keeps its bytes.
        """
        ...

    def measure(self, samples: Samples) -> Mapping[str, NDArray[np.float64]]:
        """Named figures of n samples, each of shape (n,); `poison` records them before and after."""
        ...

    def details(self) -> Mapping[str, Any]:
        """What else the ground truth should record (JSON values).

        Attacks on one record give `target_key` (when it is in the dataset) and `target_becomes`.
        """
        ...


@runtime_checkable
class CoverCrafter(Crafter[Samples], Protocol[Samples]):
    """The crafter of a `Covered` attack."""

    def craft_cover(self, samples: Samples, rng: np.random.Generator, stored: Sequence[Stored]) -> Samples:
        """Cover, as `craft` makes poison."""
        ...


class Attack(Protocol):
    """One way to poison: parameters only. `modality` None: the content of records does not matter."""

    name: ClassVar[str]
    paper: ClassVar[str]
    modality: ClassVar[Modality | None]
    needs: ClassVar[tuple[Need, ...]]

    @property
    def source(self) -> int | None:
        """Class whose records are poisoned; None where there is no such class."""
        ...

    @property
    def target(self) -> int | None:
        """The label that the poison teaches; None where there is no such label."""
        ...

    def candidates(self, labels: Labels, n_classes: int) -> Mask:
        """Which records may be poisoned, (N,), by the labels (N,) of the dataset."""
        ...

    def relabel(self, labels: Labels, n_classes: int, rng: np.random.Generator) -> Labels:
        """The new labels (n,) of poisoned records that had these (n,)."""
        ...

    def prepare(
        self, dataset: Dataset, encoder: GradientEncoder | None, surrogate: Surrogate | None
    ) -> Crafter[Any]:
        """Bind to a dataset, and to what it `needs`; UsageError when that is missing or does not fit."""
        ...


@runtime_checkable
class Triggered(Protocol[Samples]):
    """An attack with a trigger, which makes a model err on any record that shows it."""

    def apply(self, samples: Samples, rng: np.random.Generator) -> Samples:
        """Copies of held-out samples with the trigger, as an adversary would show it to the model."""
        ...

    def test_labels(self, labels: Labels, n_classes: int) -> Labels:
        """For held-out records with these labels (n,): which prediction is the adversary's success, (n,);
        -1 where it is not tested.
        """
        ...


@runtime_checkable
class Covered(Attack, Protocol):
    """An attack that also plants cover records: they get the trigger and keep their right label."""

    @property
    def cover_ratio(self) -> float:
        """Cover records per poisoned record."""
        ...

    def cover_candidates(self, labels: Labels, n_classes: int) -> Mask:
        """Which records may be cover, (N,), as `candidates`; those that were poisoned are left out later."""
        ...

    def prepare(
        self, dataset: Dataset, encoder: GradientEncoder | None, surrogate: Surrogate | None
    ) -> CoverCrafter[Any]:
        """As for any attack."""
        ...


ATTACKS: Registry[type[Attack]] = Registry("attack", "bezoar.attacks")


def require(condition: bool, message: str) -> None:
    """UsageError with `message` unless `condition` holds; for checking parameters."""
    if not condition:
        raise UsageError(message)
