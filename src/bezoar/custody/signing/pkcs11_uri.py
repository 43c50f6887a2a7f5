"""PKCS#11 URIs (RFC 7512): which module, token and key to sign with.

For example `pkcs11:token=Lab;object=release?module-path=/usr/lib/softhsm/libsofthsm2.so`.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote_to_bytes

from bezoar.errors import InputError

MAX_URI = 4096
_PATH = ("token", "manufacturer", "serial", "model", "object", "id", "type", "slot-id")
_QUERY = ("module-path", "module-name", "pin-value", "pin-source")
_PERCENT = re.compile(r"%(?![0-9A-Fa-f]{2})")
_MODULE_FOLDERS = (
    "/usr/lib64/pkcs11",
    "/usr/lib/pkcs11",
    "/usr/lib/x86_64-linux-gnu/pkcs11",
    "/usr/lib/aarch64-linux-gnu/pkcs11",
    "/usr/local/lib/pkcs11",
    "/usr/lib/softhsm",
    "/usr/lib/x86_64-linux-gnu",
)


@dataclass(frozen=True)
class Pkcs11Uri:
    """The attributes of a URI that are used here; None where it does not say."""

    module: Path
    token: str | None = None
    manufacturer: str | None = None
    serial: str | None = None
    model: str | None = None
    slot: int | None = None
    label: str | None = None
    key_id: bytes | None = None
    pin: str | None = None

    @classmethod
    def parse(cls, uri: str) -> Pkcs11Uri:
        """A URI with a module and a key's `object` or `id`. InputError when malformed; a `pin-source` file is read."""
        if not uri.startswith("pkcs11:") or len(uri) > MAX_URI or not uri.isascii():
            raise InputError("not a PKCS#11 URI; expected pkcs11:token=...;object=...?module-path=...")
        path, _, query = uri.removeprefix("pkcs11:").partition("?")
        fields = _attributes(path, ";", _PATH)
        options = _attributes(query, "&", _QUERY)
        texts = {name: _text(name, value) for name, value in {**fields, **options}.items() if name != "id"}
        if "object" not in fields and "id" not in fields:
            raise InputError("the PKCS#11 URI names no key; add object=LABEL or id=%01")
        if texts.get("type", "private") != "private":
            raise InputError("the PKCS#11 URI names an object that is not a private key; leave type out")
        slot = texts.get("slot-id")
        if slot is not None and not re.fullmatch(r"[0-9]{1,18}", slot):
            raise InputError("the PKCS#11 URI has a slot-id that is not a number")
        return cls(
            module=_module(texts),
            token=texts.get("token"),
            manufacturer=texts.get("manufacturer"),
            serial=texts.get("serial"),
            model=texts.get("model"),
            slot=None if slot is None else int(slot),
            label=texts.get("object"),
            key_id=fields.get("id"),
            pin=_pin(texts),
        )


def _attributes(text: str, separator: str, known: tuple[str, ...]) -> dict[str, bytes]:
    if separator == "&" and ";" in text:
        raise InputError(
            "the PKCS#11 URI has ';' behind '?'; write & between attributes there, %3B for itself"
        )
    found: dict[str, bytes] = {}
    for part in text.split(separator) if text else []:
        name, equals, value = part.partition("=")
        if name not in known or not equals:
            raise InputError(  # which is not said: it may be the rest of a PIN
                f"the PKCS#11 URI has an unknown attribute between '{separator}'; known: {', '.join(known)}"
            )
        if name in found:
            raise InputError(f"the PKCS#11 URI says {name} twice")
        if _PERCENT.search(value):
            raise InputError(f"the PKCS#11 URI has a broken percent escape in {name}")
        found[name] = unquote_to_bytes(value)
    return found


def _text(name: str, value: bytes) -> str:
    try:
        text = value.decode()
    except UnicodeDecodeError as error:
        raise InputError(f"the PKCS#11 URI's {name} is not valid UTF-8") from error
    if "\0" in text:
        raise InputError(f"the PKCS#11 URI's {name} holds a zero byte")
    return text


def _module(texts: dict[str, str]) -> Path:
    """The module's file: named outright, or by name in one of the folders where systems keep them."""
    if "module-path" in texts:
        path = Path(texts["module-path"])
        if not path.is_absolute() or not os.path.isfile(
            path
        ):  # which, unlike Path, is no error for an absurd name
            raise InputError(f"{path}: no PKCS#11 module at this absolute path")
        return path
    name = texts.get("module-name", "")
    if not re.fullmatch(r"[A-Za-z0-9_.-]+", name):
        raise InputError("the PKCS#11 URI names no module; add ?module-path=/path/to/module.so")
    for folder in _MODULE_FOLDERS:
        for file in (f"{name}.so", f"lib{name}.so"):
            if (Path(folder) / file).is_file():
                return Path(folder) / file
    raise InputError(f"no PKCS#11 module {name!r} in the usual folders; add ?module-path=/path/to/module.so")


def _pin(texts: dict[str, str]) -> str | None:
    if "pin-value" in texts and "pin-source" in texts:
        raise InputError("the PKCS#11 URI has both pin-value and pin-source; keep one")
    if "pin-source" not in texts:
        return texts.get("pin-value")
    path = Path(texts["pin-source"].removeprefix("file://").removeprefix("file:"))
    try:
        with path.open("rb") as file:
            return _text("pin-source", file.read(1024)).rstrip("\r\n")
    except OSError as error:
        raise InputError(f"{path}: the PIN cannot be read ({error.strerror or error})") from error
