"""The plug-in point for attacks: published ways to poison a dataset, used to measure the defences.

An attack is a frozen dataclass of parameters. `prepare` binds it to a dataset and gives a `Crafter`, which
turns the pixels of chosen records into poison; choosing records, labels, formats and ground truth are
`poison`'s.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from bezoar.data.dataset import Dataset
from bezoar.errors import UsageError
from bezoar.registry import Registry

Images = NDArray[np.uint8]  # (n, H, W, 3), RGB
Stored = Callable[[NDArray[np.uint8]], NDArray[np.uint8]]  # pixels (H, W, 3) to what a reader will get back


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


class Crafter(Protocol):
    """An attack bound to one dataset."""

    def craft(self, images: Images, rng: np.random.Generator, stored: Sequence[Stored]) -> Images:
        """Poisoned copies of `images` (n, H, W, 3), which are left alone.

        `stored` says for each image what its pixels become when they are stored in its container.
        """
        ...

    def measure(self, images: Images) -> Mapping[str, NDArray[np.float64]]:
        """Named figures of `images`, each of shape (n,); `poison` records them before and after."""
        ...

    def details(self) -> Mapping[str, Any]:
        """What else the ground truth should record (JSON values)."""
        ...


class Attack(Protocol):
    """One way to poison: parameters only."""

    name: ClassVar[str]
    paper: ClassVar[str]

    @property
    def source(self) -> int | None:
        """Class whose records are poisoned; None for any class but the target."""
        ...

    @property
    def target(self) -> int | None:
        """Label that the poisoned records get; None for clean-label attacks, whose records keep theirs."""
        ...

    def prepare(self, dataset: Dataset, encoder: GradientEncoder | None) -> Crafter:
        """Bind to a dataset (and a fitted encoder, where one is needed); UsageError when they do not fit."""
        ...


ATTACKS: Registry[type[Attack]] = Registry("attack", "bezoar.attacks")


class TriggerAttack:
    """Shared by attacks that stamp one fixed trigger: such an attack is its own crafter."""

    def apply(self, images: Images, rng: np.random.Generator) -> Images:
        """Copies of `images` (n, H, W, 3) with the trigger; held-out ones measure attack success."""
        raise NotImplementedError

    def craft(self, images: Images, rng: np.random.Generator, stored: Sequence[Stored]) -> Images:
        """Poison is stamped just as images are at test time."""
        return self.apply(images, rng)

    def prepare(self, dataset: Dataset, encoder: GradientEncoder | None) -> Self:
        """Needs neither."""
        return self

    def measure(self, images: Images) -> Mapping[str, NDArray[np.float64]]:
        """No figures beyond those that every attack gets."""
        return {}

    def details(self) -> Mapping[str, Any]:
        """Nothing beyond the parameters."""
        return {}


def require(condition: bool, message: str) -> None:
    """UsageError with `message` unless `condition` holds; for checking parameters."""
    if not condition:
        raise UsageError(message)
