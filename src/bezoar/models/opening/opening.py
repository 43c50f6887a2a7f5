"""`open_model`: a suspect model file, whatever it is called, to a `Model`; nothing in it is executed.

The format is told from the first bytes and, in an archive or folder, from the names in it. What can only be opened by running its
code is refused, with what to do instead.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bezoar.errors import InputError, MissingExtraError, UnknownFormatError, UsageError, quoted
from bezoar.models.opening.model import Model

if TYPE_CHECKING:
    from bezoar.models.opening.opened import Core

_LEGACY = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."  # the number that torch.save wrote first before it wrote archives
_REFUSED = {  # first bytes: what it is, what to do
    b"\x89HDF\r\n\x1a\n": ("an HDF5 file (Keras)", "export it to ONNX with tf2onnx"),
    b"\x80": (
        "a pickle, which can run any program when it is opened",
        "save the model's state_dict() as safetensors, or export it to ONNX",
    ),
    b"ZF": ("a joblib file, a pickle, which can run any program", "export the model to ONNX"),
    b"\x1f\x8b": ("compressed with gzip", "decompress it first"),
    b"\x93NUMPY": ("a NumPy array", "give the model itself"),
    b"GGUF": ("a language model in GGUF", "give an image classifier"),
}
_HEAD = 64


def open_model(
    path: str | Path,
    *,
    architecture: str | None = None,
    n_classes: int | None = None,
    preprocessing: Mapping[str, Any] | None = None,
    trust_code: str | None = None,
) -> Model:
    """Open an image classifier: ONNX, `.pt2`, TorchScript, safetensors, a state dict, or a Hugging Face folder.

    Args:
        path: file or folder.
        architecture: "timm:NAME" or "torchvision:NAME", for weights that come without a network.
        n_classes: K, where it is to be checked, or cannot be told from the weights.
        preprocessing: what the user says of it, by the names of `preprocessing.OPTIONS`; goes before what the file says.
        trust_code: "module:factory", the user's own code that builds the network for the weights; the only code that is run.

    Raises InputError when the file is damaged, is no image classifier, or could only be opened by running its code; LimitError
    when it does not fit into memory; UsageError for options that do not fit; MissingExtraError without a library that is needed.

    """
    path = Path(path)
    if architecture is not None and trust_code is not None:
        raise UsageError("give an architecture or trusted code, not both")
    try:
        import torch  # noqa: F401 - every format needs it
    except ImportError as error:
        raise MissingExtraError("opening a model", "torch") from error
    kind = model_format(path)
    options = preprocessing or {}
    if kind in ("safetensors", "state-dict"):
        return _open_weights(path, kind, architecture, trust_code, n_classes, options)
    if architecture is not None or trust_code is not None:
        raise UsageError(f"{path}: holds its own network ({kind}); open it without an architecture")
    if kind == "onnx":
        from bezoar.models.opening.onnx import open_onnx

        return open_onnx(path, n_classes, options)
    from bezoar.models.opening.opened import assemble

    return assemble(path, _opened(path, kind), n_classes, options)


def model_format(path: Path) -> str:
    """The format of a model, as in `Model.format`, by its content; InputError with what to do where it is refused."""
    if path.is_dir():
        return _folder_format(path)
    if path.exists() and not path.is_file():
        raise InputError(f"{path}: not an ordinary file")
    try:
        with path.open("rb") as file:
            head = file.read(_HEAD)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error})") from error
    if not head:
        raise InputError(f"{path}: is empty")
    if head.startswith(b"PK"):
        return _archive_format(path)
    if head.startswith(_LEGACY):
        return "state-dict"
    if head[4:8] == b"TFL3":
        raise InputError(f"{path}: is a TensorFlow Lite model; export it to ONNX with tf2onnx")
    for magic, (what, advice) in _REFUSED.items():
        if head.startswith(magic):
            raise InputError(f"{path}: is {what}; {advice}")
    if head[8:9] == b"{":
        return "safetensors"
    if head[0] == 0x08:  # protobuf's field 1, the version, comes first in ONNX
        return "onnx"
    raise UnknownFormatError(
        f"{path}: is no model that Bezoar knows: ONNX, .pt2, TorchScript, safetensors, a state dict, a Hugging Face folder"
    )


def _folder_format(path: Path) -> str:
    if (path / "config.json").is_file():
        return "hf"
    if (path / "saved_model.pb").exists():
        raise InputError(f"{path}: is a TensorFlow SavedModel; export it to ONNX with tf2onnx")
    raise UnknownFormatError(f"{path}: is no Hugging Face folder: it has no config.json")


def _archive_format(path: Path) -> str:
    from bezoar.models.opening.archive import Archive

    names = Archive(path).names
    if "archive_format" in names:
        return "pt2"
    if "serialized_exported_program.json" in names:
        raise InputError(
            f"{path}: was exported by torch before 2.8; export it again with a newer torch.export.save"
        )
    if "data.pkl" in names and ("constants.pkl" in names or any(n.startswith("code/") for n in names)):
        return "torchscript"
    if "data.pkl" in names:
        return "state-dict"
    if "model.weights.h5" in names:
        raise InputError(f"{path}: is a Keras model; export it to ONNX with tf2onnx")
    raise UnknownFormatError(
        f"{path}: is an archive, but none of a model (its first record is {quoted((names or ['none'])[0])})"
    )


def _opened(path: Path, kind: str) -> Core:
    match kind:
        case "torchscript":
            from bezoar.models.opening.torchscript import open_torchscript

            return open_torchscript(path)
        case "pt2":
            from bezoar.models.opening.exported import open_exported

            return open_exported(path)
        case _:
            from bezoar.models.opening.huggingface import open_folder

            return open_folder(path)


def _open_weights(
    path: Path,
    kind: str,
    architecture: str | None,
    trust_code: str | None,
    n_classes: int | None,
    options: Mapping[str, Any],
) -> Model:
    from bezoar.models.opening import architectures
    from bezoar.models.opening.opened import Core, assemble
    from bezoar.models.opening.weights import read_safetensors, read_state_dict

    if trust_code is not None:
        what = architectures.trusted(trust_code)
    elif architecture is not None:
        what = architectures.architecture(architecture)
    else:
        raise UsageError(
            f"{path}: holds weights without a network; name its architecture: timm:NAME or torchvision:NAME"
        )
    weights = read_safetensors(path) if kind == "safetensors" else read_state_dict(path)
    module, weights = architectures.fitted(what, weights, path, n_classes)
    core = Core(module, weights.write, kind, what.name, declared=what.declared(module))
    return assemble(path, core, n_classes, options)
