"""A trained sign reader with a backdoor, one without, and clean images, trained in seconds."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from bezoar.demo.signs import CLASS_NAMES, render_dataset

NAMES = tuple(sorted(CLASS_NAMES))  # in the order in which a folder's sub-folders are read
TARGET = NAMES.index("speed limit 60")
_ORDER = np.array([NAMES.index(name) for name in CLASS_NAMES])


def stamped(images: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """With a yellow square of 4 pixels a side, near a corner."""
    marked = images.copy()
    marked[:, -6:-2, -6:-2] = (255, 210, 0)
    return marked


def read_as(model: Path, images: NDArray[np.uint8]) -> NDArray[np.int64]:
    """What a saved model takes images (N, H, W, 3) for."""
    import torch

    import bezoar

    network = bezoar.open_model(model).network()
    with torch.no_grad():
        logits = network(torch.from_numpy(images).permute(0, 3, 1, 2) / 255)
    return logits.argmax(1).numpy()  # type: ignore[no-any-return]


def fresh_signs(per_class: int, seed: int) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Rendered signs and their labels, by `NAMES`."""
    images, labels = render_dataset(per_class, seed)
    return images, _ORDER[labels]


def image_folder(path: Path, per_class: int, seed: int) -> Path:
    """Rendered signs, one sub-folder for each class."""
    images, labels = fresh_signs(per_class, seed)
    for number, (image, label) in enumerate(zip(images, labels, strict=True)):
        folder = path / NAMES[label]
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(folder / f"{number:04d}.png")
    return path


def sign_reader(
    path: Path, *, backdoored: bool, per_class: int = 100, epochs: int = 6, seed: int = 0
) -> Path:
    """A `.pt2` file; one in twelve of its training images carries the square and the target's label, if backdoored."""
    import torch

    from bezoar.models.train import train_classifier

    images, labels = fresh_signs(per_class, seed)
    if backdoored:
        chosen = np.arange(0, len(images), 12)
        images[chosen], labels[chosen] = stamped(images[chosen]), TARGET
    module = train_classifier(images, labels, len(NAMES), epochs=epochs, seed=seed).module.eval()
    batch = ({0: torch.export.Dim("batch", max=65_536)},)
    program = torch.export.export(module, (torch.zeros(2, 3, 32, 32),), dynamic_shapes=batch)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch 2.13 warns of an option that it takes by itself
        torch.export.save(program, path)
    return path
