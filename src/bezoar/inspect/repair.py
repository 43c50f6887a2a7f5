"""Taking a backdoor out of a model: unlearning the triggers that an inspection recovered, and others like them. Loads torch.

The attacker's trigger is not known; what was recovered is one of several ways to the same label, and a network that unlearns one
of them may keep the rest. So triggers of every kind are recovered and unlearned together, and then once more, from the repaired
network (adversarial unlearning: Zeng et al., ICLR 2022, arXiv:2110.03735, with whole inversions instead of single steps); where a
trigger resists, the features that it raises are pruned first. All that is decided, is decided on a fifth of the clean images.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from bezoar.data import Dataset
from bezoar.errors import InputError, UsageError
from bezoar.inspect.clean_images import clean_images
from bezoar.inspect.functional.folding import prepare
from bezoar.inspect.functional.inversion import recover
from bezoar.inspect.functional.pruning import prune
from bezoar.inspect.functional.unlearning import LARGEST, Lure, answers, unlearn
from bezoar.inspect.result import Finding, InspectionResult, Severity
from bezoar.inspect.trigger import Kind, Trigger
from bezoar.models.threads import threads_for
from bezoar.progress import Bar, track
from bezoar.seeds import generator

if TYPE_CHECKING:
    from bezoar.models.opening.model import Model

IMAGES = 2000
FEWEST = 20  # clean images, of which four are held out
KINDS: tuple[Kind, ...] = ("patch", "shift", "warp")
_HELD_OUT = 5  # one image in so many
_ROUNDS = 2
_STEPS = 120  # of training, per round
_SEARCH_STEPS, _SEARCHED = 100, 256  # of an inversion, and images for it
_SEARCHES = 2  # ways of a lure with several targets that are looked for anew
_WORKS = 0.5  # share of held-out images from which on a recovered trigger is one
_LONGER = 4.0  # times a known trigger's size: where the shortest way is that long, no backdoor is left
_GONE = 0.1  # share of held-out images; of fewer one cannot say whether the trigger did it
_SHARES = (1.0, 0.75, 0.5, 0.25, 0.0)  # of a further round's change of the weights
_COST = 0.015  # of held-out accuracy: what a further round may cost in all


@dataclass(frozen=True, slots=True)
class Unlearned:
    """One finding's trigger: on what share of the held-out images that it is meant for it worked, before and after."""

    title: str
    before: float
    after: float


@dataclass(frozen=True)
class Repaired:
    """A repaired network and what the repair cost.

    Attributes:
        module: trained, for `Model.save`.
        accuracy_before, accuracy_after: on the held-out images.
        triggers: of the findings that were repaired.
        rounds: of recovering and unlearning.
        unlearned: triggers in all, with those that the repair itself recovered.
        images, held_out: clean images trained on, and held out.
        seconds, cpu_seconds: that it took.

    """

    module: nn.Module
    accuracy_before: float
    accuracy_after: float
    triggers: tuple[Unlearned, ...]
    rounds: int
    unlearned: int
    images: int
    held_out: int
    seconds: float
    cpu_seconds: float


def repair(
    model: Model,
    dataset: Dataset,
    inspection: InspectionResult,
    *,
    classes: Sequence[str] | None = None,
    images: int = IMAGES,
    seed: int = 0,
) -> Repaired:
    """Take the backdoors that `inspection` found out of a copy of the model's network.

    Args:
        model: the one that was inspected.
        dataset: clean images with labels.
        inspection: with at least one backdoor (`repairable`).
        classes: names of the labels in the model's order, where the model does not name them.
        images: how many clean images to use at most.
        seed: of every random choice.

    Raises UsageError where the inspection is of another model or found nothing to repair, InputError where the images do not fit
    the model or are too few.

    """
    if inspection.digest != model.digest:
        raise UsageError(
            f"{model.path}: is not the model that was inspected, or has changed; inspect it again"
        )
    found = repairable(inspection)
    if not found:
        raise UsageError(f"{model.path}: the inspection found no backdoor, so there is nothing to repair")
    clean = clean_images(model, dataset, limit=images, seed=seed, classes=classes)
    model = model.with_preprocessing(clean.preprocessing)
    lures = [_lure(finding, finding.trigger, model) for finding in found if finding.trigger is not None]
    with threads_for(model.preprocessing.height, model.preprocessing.width):
        return cleanse(
            model.trainable(),
            clean.images,
            torch.from_numpy(clean.labels),
            lures,
            titles=[finding.title for finding in found],
            seed=seed,
        )


def repairable(inspection: InspectionResult) -> tuple[Finding, ...]:
    """The findings that a repair takes out: backdoors with a trigger."""
    return tuple(
        finding
        for finding in inspection.findings
        if finding.severity is Severity.BACKDOOR and finding.trigger is not None
    )


def cleanse(
    network: nn.Module,
    images: torch.Tensor,
    labels: torch.Tensor,
    lures: Sequence[Lure],
    *,
    titles: Sequence[str],
    seed: int,
) -> Repaired:
    """Train `network`, in evaluation mode, in place, until neither `lures` nor others like them work.

    Images (N, C, H, W) in [0, 1] with labels (N,), on the CPU, as the network is before and after.
    """
    wall, cpu = time.perf_counter(), time.process_time()
    fast = prepare(network, (images.shape[1], images.shape[2], images.shape[3]), seed)
    train, held_out = (part.to(fast.device) for part in _split(images, labels, seed))
    if not all(len(lure.rows(part.labels)) for lure in lures for part in (train, held_out)):
        raise InputError(
            "there are too few clean images of a label that a backdoor turns into another; give more"
        )
    work = _Work(network.to(fast.device), train, held_out, fast.half, seed)
    accuracy, before = held_out.accuracy(network), [held_out.success(network, lure) for lure in lures]
    with track("repair", _ROUNDS * _STEPS) as bar:
        rounds, unlearned = work.run(lures, bar)
    after = [held_out.success(network, lure) for lure in lures]
    return Repaired(
        accuracy_before=accuracy,
        accuracy_after=held_out.accuracy(network),
        module=network.cpu(),
        triggers=tuple(map(Unlearned, titles, before, after)),
        rounds=rounds,
        unlearned=unlearned,
        images=len(train.labels),
        held_out=len(held_out.labels),
        seconds=time.perf_counter() - wall,
        cpu_seconds=time.process_time() - cpu,
    )


@dataclass(frozen=True, slots=True)
class _Images:
    """Images (N, C, H, W) in [0, 1] and their labels (N,)."""

    images: torch.Tensor
    labels: torch.Tensor

    def to(self, device: torch.device) -> _Images:
        return _Images(self.images.to(device), self.labels.to(device))

    def accuracy(self, network: nn.Module) -> float:
        return float((answers(network, self.images).argmax(1) == self.labels).float().mean())

    def success(self, network: nn.Module, lure: Lure) -> float:
        return lure.success(network, self.images, self.labels)


@dataclass(frozen=True, slots=True)
class _Work:
    """`half`: products may be taken in bfloat16."""

    network: nn.Module
    train: _Images
    held_out: _Images
    half: bool
    seed: int

    def run(self, lures: Sequence[Lure], bar: Bar) -> tuple[int, int]:
        """How many rounds it took, and how many triggers were unlearned in them."""
        before = answers(self.network, self.train.images)
        accuracy = self.held_out.accuracy(self.network)
        known = list(lures)
        for number in range(_ROUNDS):
            found = self._others(lures, known if number else ())
            stubborn = [lure for lure in known if self.held_out.success(self.network, lure) > _GONE]
            if number and not found and not stubborn:
                return number, len(known)
            kept = copy.deepcopy(self.network.state_dict())
            if number and stubborn:
                self._prune(stubborn, accuracy - _COST)
            unlearn(
                self.network,
                self.train.images,
                self.train.labels,
                [*known, *found],
                before,
                steps=_STEPS,
                seed=self.seed + number,
                half=self.half,
                step_done=bar.advance,
            )
            known += found
            if number:
                self._step_back(kept, accuracy - _COST)
        return _ROUNDS, len(known)

    def _prune(self, lures: Sequence[Lure], least: float) -> None:
        prune(
            self.network,
            self.train.images,
            self.train.labels,
            lures,
            lambda: self.held_out.accuracy(self.network) < least,
        )

    def _step_back(self, old: dict[str, torch.Tensor], least: float) -> None:
        """Go back to the old weights as far as it takes for that accuracy (Wortsman et al. 2022, arXiv:2109.01903)."""
        new = copy.deepcopy(self.network.state_dict())

        def accuracy_at(share: float) -> float:
            self.network.load_state_dict(
                {
                    name: torch.lerp(old[name], value, share) if value.is_floating_point() else value
                    for name, value in new.items()
                }
            )
            return self.held_out.accuracy(self.network)

        accuracy_at(max(_SHARES, key=lambda share: (min(accuracy_at(share), least), share)))

    def _others(self, lures: Sequence[Lure], known: Sequence[Lure]) -> list[Lure]:
        """Triggers that lead the same ways in the network as it is now: of every kind, or not much larger than those known."""
        found = []
        fast = prepare(self.network, tuple(self.train.images.shape[1:]), self.seed)
        for lure in lures:
            for rows, target in self._leads(lure):
                images = self.train.images[rows[:_SEARCHED]]
                ways = tuple(target if way == target else -1 for way in lure.ways)
                for kind in KINDS:
                    trigger = recover(fast, images, target, kind=kind, seed=self.seed, steps=_SEARCH_STEPS)
                    other = Lure(trigger, ways)
                    sizes = [old.trigger.size for old in known if old.trigger.kind == kind]
                    most = _LONGER * min(sizes, default=0) if known else LARGEST[kind]
                    if (
                        trigger.size <= min(most, LARGEST[kind])
                        and self.held_out.success(self.network, other) >= _WORKS
                    ):
                        found.append(other)
        return found

    def _leads(self, lure: Lure) -> list[tuple[torch.Tensor, int]]:
        """For each target, at most `_SEARCHES`: places of the images that are to be turned into it, and the target."""
        turned = torch.tensor(lure.ways, device=self.train.labels.device)[self.train.labels]
        counts = turned[turned >= 0].bincount()
        targets = counts.argsort(descending=True, stable=True)[:_SEARCHES].tolist()
        return [(torch.nonzero(turned == target)[:, 0], target) for target in targets if counts[target]]


def _split(images: torch.Tensor, labels: torch.Tensor, seed: int) -> tuple[_Images, _Images]:
    """Every label's images, in random order, one in `_HELD_OUT` of them held out."""
    if len(labels) < FEWEST:
        raise InputError(
            f"{len(labels)} clean images are too few to repair a model with; give {FEWEST} or more"
        )
    shuffled = torch.from_numpy(generator(seed, "repair", "held out").permutation(len(labels)))
    by_label = shuffled[labels[shuffled].argsort(stable=True)]
    apart = torch.arange(len(labels)) % _HELD_OUT == _HELD_OUT - 1
    mixed = torch.from_numpy(generator(seed, "repair", "order").permutation(int((~apart).sum())))
    train, held_out = by_label[~apart][mixed], by_label[apart]
    return _Images(images[train], labels[train]), _Images(images[held_out], labels[held_out])


def _lure(finding: Finding, trigger: Trigger, model: Model) -> Lure:
    """InputError where the finding does not fit the model: the file was changed."""
    wants = model.preprocessing
    channels = 2 if trigger.kind == "warp" else wants.channels
    if trigger.pattern.shape != (channels, wants.height, wants.width):
        raise InputError(
            f"{model.path}: takes images of {wants.width} x {wants.height}, the inspection's trigger is for others; "
            "inspect it again"
        )
    labels = range(model.n_classes)
    if finding.target is not None:
        flips = {label: finding.target for label in finding.sources or labels if label != finding.target}
    else:
        flips = _ways(finding.details.get("ways"), labels)
    return Lure(trigger, tuple(flips.get(label, -1) for label in labels))


def _ways(value: Any, labels: range) -> dict[int, int]:
    """What an all-to-all backdoor turns labels into, from the finding's details."""
    try:
        ways = {int(source): int(target) for source, target in value.items()}
    except (AttributeError, TypeError, ValueError):
        ways = {}
    if not ways or not all(source in labels and target in labels for source, target in ways.items()):
        raise InputError(
            "the inspection does not say what its backdoor turns labels into; inspect the model again"
        )
    return ways
