"""What two networks learn of the halves of a dataset that they see, and what each then says of the half that it does not.

A backdoor is a shortcut: a fine detail that goes with a label whatever the image shows. Networks learn such shortcuts and
apply them to images that they never saw. Each network here is trained on two kinds of input at once: images as they are, and
coarse ones (warped, blurred, mixed with another image, part of them cut out), in which fine and faint details are lost. Asked
about an unseen image in both forms, it says what the details make of it and what its content does. Shortcuts are easy, so
poison also has a low loss early (Li et al. 2021, arXiv 2110.11571) and withstands dropout (Li et al. 2024, arXiv 2406.05826).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from bezoar.devices import torch_device
from bezoar.errors import MissingExtraError
from bezoar.models.threads import one_thread
from bezoar.models.train import network, shifted, to_tensor
from bezoar.progress import track
from bezoar.seeds import generator

if TYPE_CHECKING:
    import torch

_BATCH = 100
_PEAK_RATE = 0.006
_WEIGHT_DECAY = 0.02
_EPOCHS, _MOST_STEPS = 12, 1500  # of each network: larger datasets see fewer epochs
_DRAWS = 6  # coarse forms that an image is judged by
_ASKED = 500  # images at a time
_GRID, _WARP = 4, 0.12  # a smooth warp: offsets on a grid, standard deviation in halves of the image's side
_MIXED = 0.4  # most of another image that shows through
_CUT = 0.375  # of the side: the square that is cut out
_DROPPED = 0.5  # of the activations, for the shift under dropout


@dataclass(frozen=True, slots=True)
class Dynamics:
    """What the networks say of N images, D activations each, K labels.

    Attributes:
        fine: float32 (N, K), probabilities that the network which never saw an image gives it as it is.
        coarse: float32 (N, K), the mean over its coarse forms.
        features: float32 (N, D), that network's last hidden layer for the image as it is.
        pooled: float32 (N, P), the same of its pooled convolutions.
        dropout_shift: float32 (N,), how much the probability of the given label falls under dropout, in the network that saw it.
        loss: float32 (N,), cross-entropy of the given label in the network that never saw the image.

    """

    fine: NDArray[np.float32]
    coarse: NDArray[np.float32]
    features: NDArray[np.float32]
    pooled: NDArray[np.float32]
    dropout_shift: NDArray[np.float32]
    loss: NDArray[np.float32]


def require_torch() -> None:
    """MissingExtraError without torch."""
    try:
        import torch  # noqa: F401
    except ImportError:
        raise MissingExtraError("training a network", "torch") from None


def cross_fit(
    images: NDArray[np.uint8],
    labels: NDArray[np.int32],
    n_labels: int,
    half: NDArray[np.bool_],
    *,
    seed: int,
) -> Dynamics:
    """Train on each half of images uint8 (N, H, W, 3), H and W >= 16, and ask about the other one; `half` bool (N,).

    MissingExtraError without torch; ValueError for an empty half.
    """
    require_torch()
    import torch

    if not 0 < half.sum() < len(half):
        raise ValueError("both halves need records")
    parts: dict[str, NDArray[np.float32]] = {}
    here = torch_device()
    with one_thread(), torch.random.fork_rng([here] if here.type == "cuda" else []):
        for number, ours in enumerate((half, ~half)):
            torch.manual_seed(int(generator(seed, "cross-fit", number).integers(2**31)))
            module = _trained(images[ours], labels[ours], n_labels, generator(seed, "cross-fit rows", number))
            _ask(module, images, labels, ours, parts)
    return Dynamics(**parts)


def _trained(
    images: NDArray[np.uint8], labels: NDArray[np.int32], n_labels: int, rng: np.random.Generator
) -> torch.nn.Sequential:
    import torch

    n, batch = len(images), min(_BATCH, len(images))
    batches = max(1, n // batch)
    steps = min(_EPOCHS * batches, _MOST_STEPS)
    module = network(n_labels, images).to(torch_device(), memory_format=torch.channels_last)
    weights = [p for p in module.parameters() if p.requires_grad]
    optimiser = torch.optim.AdamW(weights, lr=_PEAK_RATE, weight_decay=_WEIGHT_DECAY)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, _PEAK_RATE, total_steps=steps)
    targets = torch.from_numpy(labels.astype(np.int64))
    module.train()
    order = rng.permutation(n)
    with track("train", steps) as bar:
        for step in range(steps):
            at = step % batches
            if at == 0:
                order = rng.permutation(n)
            rows = order[at * batch : (at + 1) * batch]
            inputs = to_tensor(shifted(rng, images[rows])).to(torch_device())
            inputs *= torch.empty((len(rows), 1, 1, 1), device=inputs.device).uniform_(0.8, 1.2)
            some = len(rows) // 2
            inputs = torch.cat([inputs[:some], coarse(inputs[some:])])
            loss = torch.nn.functional.cross_entropy(module(inputs), targets[rows].to(inputs.device))
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
            bar.advance()
    return module.eval()


def coarse(images: torch.Tensor) -> torch.Tensor:
    """Images (N, 3, H, W) without their fine and faint details: warped, at half the resolution, mixed, a part cut out."""
    import torch
    from torch.nn import functional

    n, _, height, width = images.shape
    offsets = _WARP * torch.randn((n, 2, _GRID, _GRID), device=images.device)
    offsets = functional.interpolate(offsets, (height, width), mode="bicubic", align_corners=True)
    axes = [torch.linspace(-1, 1, side, device=images.device) for side in (height, width)]
    rows, columns = torch.meshgrid(*axes, indexing="ij")
    grid = torch.stack([columns, rows], dim=-1) + offsets.permute(0, 2, 3, 1)
    blurred = functional.avg_pool2d(
        functional.grid_sample(images, grid, padding_mode="border", align_corners=True), 2
    )
    blurred = functional.interpolate(blurred, (height, width), mode="bilinear")
    share = _MIXED * torch.rand((n, 1, 1, 1), device=images.device)
    mixed = blurred.lerp(blurred.roll(1, 0), share)
    centre = torch.rand((n, 2, 1, 1), device=images.device) * 2 - 1
    cut = ((rows - centre[:, 0]).abs() < _CUT) & ((columns - centre[:, 1]).abs() < _CUT)
    return mixed.masked_fill(cut[:, None], 0.5)


def _ask(
    module: torch.nn.Sequential,
    images: NDArray[np.uint8],
    labels: NDArray[np.int32],
    seen: NDArray[np.bool_],
    parts: dict[str, NDArray[np.float32]],
) -> None:
    """Write what `module`, trained on the rows `seen`, says into `parts`."""
    import torch
    from torch.nn import functional

    trunk, hidden, head = module[:-3], module[-3:-1], module[-1]

    def write(name: str, rows: NDArray[np.int64], values: torch.Tensor) -> None:
        if name not in parts:
            parts[name] = np.zeros((len(images), *values.shape[1:]), dtype=np.float32)
        parts[name][rows] = values.cpu().numpy()

    with torch.inference_mode():
        for rows in _blocks(np.flatnonzero(~seen)):
            inputs = to_tensor(images[rows]).to(torch_device())
            given = torch.from_numpy(labels[rows].astype(np.int64)).to(inputs.device)
            pooled = trunk(inputs)
            features = hidden(pooled)
            logits = head(features)
            write("pooled", rows, pooled)
            write("features", rows, features)
            write("fine", rows, logits.softmax(1))
            write("loss", rows, functional.cross_entropy(logits, given, reduction="none"))
            forms = torch.stack([module(coarse(inputs)).softmax(1) for _ in range(_DRAWS)])
            write("coarse", rows, forms.mean(0))
        for rows in _blocks(np.flatnonzero(seen)):
            inputs = to_tensor(images[rows]).to(torch_device())
            given = torch.from_numpy(labels[rows].astype(np.int64)).to(inputs.device)[:, None]
            features = hidden(trunk(inputs))
            whole = head(features).softmax(1).gather(1, given)[:, 0]
            dropped = torch.stack(
                [head(functional.dropout(features, _DROPPED)).softmax(1) for _ in range(_DRAWS)]
            )
            write("dropout_shift", rows, whole - dropped.mean(0).gather(1, given)[:, 0])


def _blocks(rows: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    return np.array_split(rows, max(1, -(-len(rows) // _ASKED)))
