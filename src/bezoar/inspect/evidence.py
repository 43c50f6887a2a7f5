"""Does a recovered trigger work on images that it was not made with, where triggers of equal size do not? Loads torch.

Every network has, for every label, some small perturbation that sends most images there (Moosavi-Dezfooli et al. 2017, arXiv
1610.08401). It, too, works on held-out images and beats random patterns: what gives a backdoor away is that its trigger is much
smaller than any that leads elsewhere (Wang et al. 2019). So a trigger meets two kinds of control, of about its own size:
random patterns, which the network should ignore, and rivals, which were recovered in the same way towards other labels. What is
recovered is never quite the smallest there is, so rivals may be half as large again.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import fisher_exact

from bezoar.inspect.trigger import Trigger

WORKS = 0.5  # share of held-out images that a trigger has to flip to be called one
LEEWAY = 1.5  # times its size, that rivals are cut to
_AHEAD = 0.3  # by which its share has to exceed that of random patterns and of every rival
_LEVEL = 0.001  # of the tests against random patterns and rivals
_RANDOM = 10  # patterns
_BATCH = 256


@dataclass(frozen=True, slots=True)
class Rival:
    """A trigger recovered towards another label (None: towards other labels for each), cut to `LEEWAY` times the suspect's size.

    `size` is its own before that, `success` the share of `tested` images that it flips.
    """

    target: int | None
    size: float
    success: float
    tested: int


@dataclass(frozen=True, slots=True)
class Evidence:
    """What a recovered trigger did to held-out images.

    Attributes:
        trigger: the recovered trigger.
        success: share of `tested` images that it flips.
        control: the same with random patterns of equal size, on average.
        tested: number of images.
        p_value: that random patterns flip as many (Fisher's exact test, one-sided).
        rivals: triggers towards other labels; none where the trigger itself does not work.

    """

    trigger: Trigger
    success: float
    control: float
    tested: int
    p_value: float
    rivals: tuple[Rival, ...] = ()

    @property
    def works(self) -> bool:
        """Whether it flips most images, and random patterns clearly fewer."""
        clearly = self.success - self.control >= _AHEAD and self.p_value <= _LEVEL
        return self.success >= WORKS and clearly

    @property
    def ahead(self) -> float:
        """By what share of the images it exceeds the best rival; NaN without rivals."""
        return self.success - max((rival.success for rival in self.rivals), default=np.nan)

    @property
    def confirmed(self) -> bool:
        """Whether it works, and clearly better than every rival."""
        return self.works and self.ahead >= _AHEAD and all(self._exceeds(rival) for rival in self.rivals)

    def _exceeds(self, rival: Rival) -> bool:
        ours, theirs = round(self.success * self.tested), round(rival.success * rival.tested)
        return exceeds(ours, self.tested, theirs, rival.tested) <= _LEVEL


def tried(
    network: torch.nn.Module,
    trigger: Trigger,
    images: torch.Tensor,
    targets: NDArray[np.int64],
    rng: np.random.Generator,
) -> Evidence:
    """Show the network held-out images (N, C, H, W), each with the label (N,) that the trigger should turn it to.

    The images are those that the network does not give that label without a trigger.
    """
    ours = flipped(network, trigger, images, targets)
    theirs = [flipped(network, random_like(trigger, rng), images, targets) for _ in range(_RANDOM)]
    n = len(images)
    p_value = exceeds(ours, n, sum(theirs), _RANDOM * n)
    return Evidence(trigger, ours / n, sum(theirs) / (_RANDOM * n), n, p_value)


def against(
    evidence: Evidence,
    rival: Trigger,
    target: int | None,
    network: torch.nn.Module,
    images: torch.Tensor,
    targets: NDArray[np.int64],
) -> Evidence:
    """`evidence` with one more rival, shown to images (N, C, H, W) that it should turn to labels (N,), as in `tried`."""
    shown = resized(rival, min(rival.size, LEEWAY * evidence.trigger.size))
    share = flipped(network, shown, images, targets) / len(images)
    return replace(evidence, rivals=(*evidence.rivals, Rival(target, rival.size, share, len(images))))


def exceeds(ours: int, n_ours: int, theirs: int, n_theirs: int) -> float:
    """p-value that `ours` of `n_ours` is no larger a share than `theirs` of `n_theirs` (Fisher's exact test, one-sided)."""
    table = [[ours, n_ours - ours], [theirs, n_theirs - theirs]]
    return float(fisher_exact(table, alternative="greater").pvalue)


def flipped(
    network: torch.nn.Module, trigger: Trigger, images: torch.Tensor, targets: NDArray[np.int64]
) -> int:
    """How many images (N, C, H, W) the network gives their target (N,) once they carry the trigger."""
    return int((predictions(network, images, trigger) == targets).sum())


def predictions(
    network: torch.nn.Module, images: torch.Tensor, trigger: Trigger | None = None
) -> NDArray[np.int64]:
    """The network's label of each image (N, C, H, W), with the trigger if one is given."""
    return np.asarray(logits(network, images, trigger).argmax(1), np.int64)


def logits(
    network: torch.nn.Module, images: torch.Tensor, trigger: Trigger | None = None
) -> NDArray[np.float32]:
    """The network's answers (N, K) to images (N, C, H, W), with the trigger if one is given."""
    with torch.no_grad():
        parts = [
            network(batch if trigger is None else trigger.apply(batch)) for batch in images.split(_BATCH)
        ]
        return np.asarray(torch.cat(parts).float().cpu().numpy())


def random_like(trigger: Trigger, rng: np.random.Generator) -> Trigger:
    """A random trigger of the same kind and size: a patch of the same shape elsewhere, in random colours; of a shift or a warp,
    one with the same spectrum and random phases. Half of the shifts lie on their side: networks that see images cropped answer to
    a wave of any phase, but of one orientation.
    """
    if trigger.kind == "patch":
        height, width = trigger.mask.shape
        mask = np.roll(trigger.mask, (rng.integers(height), rng.integers(width)), (0, 1))
        return Trigger("patch", rng.random(trigger.pattern.shape, np.float32), mask)
    turned = trigger.kind == "shift" and np.ptp(trigger.mask.shape) == 0 and rng.random() < 0.5
    spectrum = np.fft.rfft2(trigger.pattern.swapaxes(1, 2) if turned else trigger.pattern)
    phases = np.exp(1j * np.angle(np.fft.rfft2(rng.standard_normal(trigger.pattern.shape[1:]))))
    pattern = np.fft.irfft2(spectrum * phases, trigger.mask.shape).astype(np.float32)
    return resized(replace(trigger, pattern=pattern), trigger.size)


def resized(trigger: Trigger, size: float) -> Trigger:
    """The trigger cut to a smaller `size`: the densest part of a patch's mask is kept; shifts and warps are scaled."""
    if trigger.size == 0:
        return trigger
    if trigger.kind != "patch":
        return replace(
            trigger, pattern=(trigger.pattern * np.float32(size / trigger.size)).astype(np.float32)
        )
    mask = trigger.mask.ravel()
    order = np.argsort(-mask, kind="stable")
    within = np.cumsum(mask[order]) <= size * mask.size
    kept = np.zeros_like(mask)
    kept[order[within]] = mask[order[within]]
    return replace(trigger, mask=kept.reshape(trigger.mask.shape))
