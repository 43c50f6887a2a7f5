"""A trained sign reader with a backdoor, and clean images.

PYTHONPATH=tests python tests/cli/model_support.py        # trains it again, in a minute
"""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from bezoar.demo.signs import CLASS_NAMES, render_dataset

NAMES = tuple(sorted(CLASS_NAMES))  # in the order in which a folder's sub-folders are read
TARGET = NAMES.index("speed limit 60")
_TRAINED = Path(__file__).with_name("signs.safetensors")
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


def sign_reader(path: Path) -> Path:
    """A `.pt2` file of the network that lies beside this module, which is the same on every machine."""
    import torch
    from safetensors.torch import load_file

    from bezoar.models.train import network

    module = network(len(NAMES), render_dataset(1, 0)[0])
    module.load_state_dict(load_file(_TRAINED))
    batch = ({0: torch.export.Dim("batch", max=65_536)},)
    program = torch.export.export(module.eval(), (torch.zeros(2, 3, 32, 32),), dynamic_shapes=batch)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch 2.13 warns of an option that it takes by itself
        torch.export.save(program, path)
    return path


def _train(per_class: int = 200, epochs: int = 12, seed: int = 0) -> None:
    """One in twelve of the training images carries the square and the target's label."""
    import torch
    from safetensors.torch import save_file

    from bezoar.models.train import train_classifier

    images, labels = fresh_signs(per_class, seed)
    chosen = np.arange(0, len(images), 12)
    images[chosen], labels[chosen] = stamped(images[chosen]), TARGET
    state = train_classifier(images, labels, len(NAMES), epochs=epochs, seed=seed).module.state_dict()
    halved = {
        name: (each.half() if each.dtype == torch.float32 else each).contiguous()
        for name, each in state.items()
    }
    save_file(halved, _TRAINED)


if __name__ == "__main__":
    _train()
