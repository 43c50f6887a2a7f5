"""Hugging Face folders: `config.json` and safetensors, of transformers or of timm; code and pickles in them are never touched.

The network is built from the installed library's own classes, by the names in `config.json`. Nothing is fetched, and no file is
read through a symbolic link or from outside the folder. Imports torch: import this module inside the function that needs it.
"""

from __future__ import annotations

import copy
import json
import re
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from bezoar.errors import BezoarError, InputError, LimitError, MissingExtraError, quoted
from bezoar.files import atomic_directory, read_file
from bezoar.models.opening.architectures import Architecture, architecture, fitted, within_memory
from bezoar.models.opening.limits import first_line, parse_json
from bezoar.models.opening.opened import Core, State
from bezoar.models.opening.preprocessing import from_hugging_face, from_timm
from bezoar.models.opening.weights import Weights, read_safetensors

_MAX_CONFIG = 2**22  # bytes
_MAX_SHARDS = 1000
_MAX_NUMBER = 2**20
_SHARD = re.compile(r"[A-Za-z0-9_.\-]+\.safetensors")
_WEIGHTS = "model.safetensors"
_INDEX = "model.safetensors.index.json"
_COPIED = (
    "preprocessor_config.json",
    "README.md",
    "LICENSE",
    _INDEX,
)  # nothing in them is run
_UNSAFE = ("auto_map", "quantization_config", "use_pretrained_backbone", "_name_or_path", "custom_pipelines")


def open_folder(path: Path) -> Core:
    """The image classifier in a folder that `save_pretrained` wrote, or timm's `save_for_hf`; InputError for anything else."""
    config = _json(path, "config.json")
    weights = _read_weights(path)
    if "pretrained_cfg" in config:
        what = _timm(config, path)
        module, weights = fitted(what, weights, path, None)
        name, declared = what.name, what.declared(module)
    else:
        module = _transformers(config, weights.tensors, path)
        name, declared = f"transformers:{config['model_type']}", _sizes(config)

    def write(state: State, out: Path) -> None:
        with atomic_directory(out) as folder:
            kept = {
                key: value for key, value in config.items() if key != "auto_map"
            }  # names the code that stays behind
            (folder / "config.json").write_text(json.dumps(kept, indent=2) + "\n", "utf-8")
            for file in _COPIED:
                if _is_plain(path / file):
                    (folder / file).write_bytes(read_file(path / file, _MAX_CONFIG))
            weights.write(state if "pretrained_cfg" in config else _renamed(module, state), folder)

    return Core(module, write, "hf", name, _class_names(config), {**declared, **_declared(path)})


def _transformers(config: dict[str, Any], weights: State, path: Path) -> torch.nn.Module:
    """The library's network with these weights; the library itself knows how their names changed between its versions."""
    cls, known = _transformers_class(config, path)
    try:
        with within_memory(path), _quiet(), torch.device("meta"):
            cls(known)
        with within_memory(path), _quiet(), torch.random.fork_rng(devices=[]):
            module, report = cls.from_pretrained(
                None,
                config=known,
                state_dict=dict(weights),
                output_loading_info=True,
                ignore_mismatched_sizes=True,
            )
    except BezoarError:
        raise
    except Exception as error:  # the library raises whatever it likes
        raise InputError(f"{path}: its network cannot be built ({first_line(error)})") from error
    for kind, what in (
        ("missing_keys", "lacks"),
        ("unexpected_keys", "has besides"),
        ("mismatched_keys", "has of other shape"),
    ):
        if report[kind]:
            name = sorted(map(str, report[kind]))[0]
            raise InputError(
                f"{path}: its weights are not those of {config['model_type']!r}: the file {what} {quoted(name)}"
            )
    return module.float().eval()


def _transformers_class(config: dict[str, Any], path: Path) -> tuple[Any, Any]:
    """The library's class for image classification and its configuration."""
    try:
        from transformers import AutoConfig, AutoModelForImageClassification
        from transformers.models.auto.modeling_auto import (
            MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING_NAMES as NAMES,
        )
    except ImportError as error:
        raise MissingExtraError(f"{path}: a transformers model", "hf") from error
    kind = config.get("model_type")
    if not isinstance(kind, str) or kind not in NAMES:
        raise InputError(
            f"{path}: its model_type {quoted(kind)} is no image classifier of transformers; Bezoar runs no code from the folder"
        )
    declared = [name for name in config.get("architectures") or () if isinstance(name, str)]
    if declared and not any(name.endswith("ForImageClassification") for name in declared):
        raise InputError(f"{path}: holds a {quoted(declared[0])}, which is no image classifier")
    settings = {name: value for name, value in config.items() if name not in _UNSAFE}
    if _largest(settings) > _MAX_NUMBER:
        raise LimitError(
            f"{path}: config.json holds the number {_largest(settings):,}; no image classifier is as large"
        )
    try:
        with _quiet():
            known = AutoConfig.for_model(**settings)
            return AutoModelForImageClassification._model_mapping[type(known)], known
    except Exception as error:  # the library raises whatever it likes
        raise InputError(f"{path}: config.json is wrong ({first_line(error)})") from error


def _largest(value: Any) -> float:
    """The largest number in JSON values: the library makes lists as long as they say before a network is built."""
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        return max(map(_largest, value), default=0)
    return abs(value) if isinstance(value, int | float) else 0


def _renamed(module: torch.nn.Module, state: State) -> State:
    """The state by the names that the library writes into files, which are not always those of its modules."""
    trained = copy.deepcopy(module)
    trained.load_state_dict(state)
    with tempfile.TemporaryDirectory() as folder, _quiet():
        trained.save_pretrained(folder, max_shard_size="1000GB")
        return read_safetensors(Path(folder, _WEIGHTS)).tensors


def _sizes(config: dict[str, Any]) -> dict[str, Any]:
    given = {"size": config.get("image_size"), "channels": config.get("num_channels")}
    return {name: value for name, value in given.items() if value is not None}


@contextmanager
def _quiet() -> Iterator[None]:
    """Within this block transformers neither logs nor draws progress bars, nor do its deprecations show."""
    from transformers.utils import logging

    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity(logging.CRITICAL)
    logging.disable_progress_bar()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()


def _timm(config: dict[str, Any], path: Path) -> Architecture:
    settings = config["pretrained_cfg"]
    options = config.get("model_args", {})
    classes = config.get("num_classes", settings.get("num_classes") if isinstance(settings, dict) else None)
    if not isinstance(settings, dict) or not isinstance(options, dict) or type(classes) is not int:
        raise InputError(
            f"{path}: config.json is none of timm's: pretrained_cfg, model_args or num_classes is wrong"
        )
    known = architecture(f"timm:{config.get('architecture')}")

    def build(_: int | None) -> torch.nn.Module:
        import timm

        name = known.name.removeprefix("timm:")
        safe = {
            key: value for key, value in options.items() if not key.startswith(("pretrained", "checkpoint"))
        }
        return timm.create_model(name, pretrained=False, **{**safe, "num_classes": classes})

    return Architecture(known.name, build, lambda _: from_timm(settings))


def _declared(path: Path) -> dict[str, Any]:
    if not _is_plain(path / "preprocessor_config.json"):
        return {}
    return from_hugging_face(_json(path, "preprocessor_config.json"))


def _class_names(config: dict[str, Any]) -> tuple[str, ...] | None:
    """Of `id2label`, in the order of its numbers; of timm's `label_names`."""
    names = config.get("id2label")
    if isinstance(names, dict) and set(names) == {str(i) for i in range(len(names))}:
        return tuple(str(names[str(i)]) for i in range(len(names)))
    names = config.get("label_names")
    return tuple(map(str, names)) if isinstance(names, list) and names else None


def _read_weights(path: Path) -> Weights:
    """The tensors of all shards; `write` writes the same shards into a folder."""
    if _is_plain(path / _WEIGHTS):
        names = [_WEIGHTS]
    elif _is_plain(path / _INDEX):
        table = _json(path, _INDEX).get("weight_map")
        if not isinstance(table, dict) or not all(isinstance(name, str) for name in table.values()):
            raise InputError(f"{path}: {_INDEX} has no weight_map")
        names = sorted(set(table.values()))
        if len(names) > _MAX_SHARDS or not all(map(_SHARD.fullmatch, names)):
            raise InputError(
                f"{path}: {_INDEX} names {quoted(names[0])}: a shard must be a safetensors file in the folder"
            )
    elif any(path.glob("pytorch_model*.bin")):
        raise InputError(
            f"{path}: its weights are a pickle (pytorch_model.bin), which can run any program; "
            "save it again with save_pretrained, which writes model.safetensors"
        )
    else:
        raise InputError(f"{path}: has a config.json, but no {_WEIGHTS}")
    for name in names:
        if not _is_plain(path / name):
            raise InputError(
                f"{path}: {quoted(name)} is missing, or a link; a shard must be a file in the folder"
            )
    shards = {name: read_safetensors(path / name) for name in names}
    tensors = {name: tensor for shard in shards.values() for name, tensor in shard.tensors.items()}

    def write(state: State, folder: Path) -> None:
        for name, shard in shards.items():
            shard.write(state, folder / name)

    return Weights(tensors, write)


def _json(path: Path, name: str) -> dict[str, Any]:
    if not _is_plain(path / name):
        raise InputError(f"{path / name}: is no file of its own; links are not followed")
    return parse_json(read_file(path / name, _MAX_CONFIG), str(path / name))


def _is_plain(path: Path) -> bool:
    return path.is_file() and not path.is_symlink()
