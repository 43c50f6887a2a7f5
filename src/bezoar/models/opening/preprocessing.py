"""What a network wants to be fed: from the user's options, else from the model's own files, else assumed.

`from_hugging_face`, `from_timm` and `IMAGENET` say what files and libraries declare; `resolve_preprocessing` puts it together and
remembers for each field where it came from. Files are hostile: what they declare is checked like what a user types.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from bezoar.errors import BezoarError, InputError, UsageError
from bezoar.models.opening.model import Origin, Preprocessing

MAX_SIDE = 2048  # pixels
OPTIONS = ("size", "channels", "mean", "std", "scale", "order", "outputs")
IMAGENET: Mapping[str, Any] = {
    "mean": (0.485, 0.456, 0.406),
    "std": (0.229, 0.224, 0.225),
    "size": 224,
    "channels": 3,
    "scale": 1.0,
    "order": "rgb",
}  # torchvision's weights
_ASSUMED: Mapping[str, Any] = {
    "size": 224,
    "channels": 3,
    "mean": 0.0,
    "std": 1.0,
    "scale": 1.0,
    "order": "rgb",
    "outputs": "logits",
}


def resolve_preprocessing(
    where: str | Path, options: Mapping[str, Any], declared: Mapping[str, Any]
) -> Preprocessing:
    """The preprocessing of the model at `where`.

    `options` are the user's (names of `OPTIONS`; None: not given), `declared` what the model's files say, by the same names.
    A size is one number, "HEIGHTxWIDTH" or a pair; a mean or std is a number, numbers with commas, or a sequence, one for all
    channels or one each. UsageError for an option, InputError for a declaration, that makes no sense: one line.
    """
    if unknown := set(options) - set(OPTIONS):
        raise UsageError(f"unknown preprocessing option {min(unknown)!r}; known: {', '.join(OPTIONS)}")
    values: dict[str, Any] = {}
    origins: dict[str, Origin] = {}
    for name in OPTIONS:
        values[name], origins[name] = _field(where, name, options, declared)
    channels = values["channels"]
    for name in ("mean", "std"):
        if len(values[name]) not in (1, channels):
            raise _refusal(
                where, name, origins[name], f"has {len(values[name])} numbers for {channels} channels"
            )
    height, width = values["size"]
    size_origin = origins.pop("size")
    return Preprocessing(
        channels,
        height,
        width,
        _each(values["mean"], channels),
        _each(values["std"], channels),
        values["scale"],
        values["order"],
        values["outputs"],
        origins | {"height": size_origin, "width": size_origin},
    )


def from_hugging_face(config: Mapping[str, Any]) -> dict[str, Any]:
    """What a `preprocessor_config.json` declares.

    Pixels are bytes times `rescale_factor`, then normalised (huggingface.co/docs/transformers/main_classes/image_processor).
    """
    declared: dict[str, Any] = {}
    size = config.get("crop_size") if config.get("do_center_crop") else None
    if size := size or config.get("size"):
        declared["size"] = _hugging_face_size(size)
    factor = config.get("rescale_factor", 1 / 255) if config.get("do_rescale", True) else 1.0
    declared["scale"] = factor * 255 if isinstance(factor, int | float) else factor
    normalised = config.get("do_normalize", True) and "image_mean" in config and "image_std" in config
    declared["mean"] = config["image_mean"] if normalised else 0.0
    declared["std"] = config["image_std"] if normalised else 1.0
    declared["order"] = "bgr" if config.get("do_flip_channel_order") else "rgb"
    return {name: value for name, value in declared.items() if value is not None}


def from_timm(config: Mapping[str, Any]) -> dict[str, Any]:
    """What timm's `pretrained_cfg` (of a library model, or in a hub folder's config.json) declares."""
    declared = {name: config[name] for name in ("mean", "std") if config.get(name) is not None}
    size = config.get("input_size")
    if isinstance(size, Sequence) and len(size) == 3:
        declared |= {"channels": size[0], "size": tuple(size[1:])}
    return {**declared, "scale": 1.0, "order": "rgb"}


def _hugging_face_size(size: Any) -> Any:
    if not isinstance(size, Mapping):
        return size
    if "height" in size and "width" in size:
        return (size["height"], size["width"])
    return size.get("shortest_edge")


def _field(
    where: str | Path, name: str, options: Mapping[str, Any], declared: Mapping[str, Any]
) -> tuple[Any, Origin]:
    given: tuple[tuple[Mapping[str, Any], Origin], ...] = ((options, "option"), (declared, "model"))
    for source, origin in given:
        if (value := source.get(name)) is not None:
            try:
                return _PARSERS[name](value), origin
            except (ValueError, TypeError, OverflowError) as error:
                raise _refusal(
                    where, name, origin, f"must be {_WANTED[name]}, not {str(value)[:60]!r}"
                ) from error
    return _PARSERS[name](_ASSUMED[name]), "assumed"


def _refusal(where: str | Path, name: str, origin: Origin, what: str) -> BezoarError:
    if origin == "option":
        return UsageError(f"--{name} {what}")
    return InputError(f"{where}: the preprocessing that the model declares is wrong: {name} {what}")


def _size(value: Any) -> tuple[int, int]:
    parts = value.lower().split("x") if isinstance(value, str) else value
    sides = [_whole(part) for part in (parts if isinstance(parts, Sequence) else [parts])]
    if len(sides) not in (1, 2) or not all(1 <= side <= MAX_SIDE for side in sides):
        raise ValueError
    return sides[0], sides[-1]


def _channels(value: Any) -> int:
    if (channels := _whole(value)) not in (1, 3):
        raise ValueError
    return channels


def _whole(value: Any) -> int:
    number = _number(value)
    if not number.is_integer():
        raise ValueError
    return int(number)


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise TypeError
    if isinstance(value, str) and not value.strip().isascii():
        raise ValueError
    number = float(value)
    if not math.isfinite(number) or abs(number) > 1e6:
        raise ValueError
    return number


def _numbers(value: Any) -> tuple[float, ...]:
    parts = value.split(",") if isinstance(value, str) else value
    numbers = tuple(_number(part) for part in (parts if isinstance(parts, Sequence) else [parts]))
    if not 1 <= len(numbers) <= 3:
        raise ValueError
    return numbers


def _spread(value: Any) -> tuple[float, ...]:
    numbers = _numbers(value)
    if min(numbers) < 1e-6:
        raise ValueError
    return numbers


def _scale(value: Any) -> float:
    if (number := _number(value)) <= 0:
        raise ValueError
    return number


def _one_of(*words: str) -> Callable[[Any], str]:
    def parse(value: Any) -> str:
        if (word := str(value).lower()) not in words:
            raise ValueError
        return word

    return parse


def _each(numbers: tuple[float, ...], channels: int) -> tuple[float, ...]:
    return numbers * channels if len(numbers) == 1 else numbers


_PARSERS: dict[str, Callable[[Any], Any]] = {
    "size": _size,
    "channels": _channels,
    "mean": _numbers,
    "std": _spread,
    "scale": _scale,
    "order": _one_of("rgb", "bgr"),
    "outputs": _one_of("logits", "probabilities"),
}
_WANTED = {
    "size": f"pixels, as 32 or 32x48 (height x width), up to {MAX_SIDE}",
    "channels": "1 or 3",
    "mean": "a number, or one per channel with commas, such as 0.485,0.456,0.406",
    "std": "a positive number, or one per channel with commas, such as 0.229,0.224,0.225",
    "scale": "a positive number: 1 for pixels in [0, 1], 255 for bytes",
    "order": "rgb or bgr",
    "outputs": "logits or probabilities",
}
