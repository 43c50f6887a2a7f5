"""Runs in the environment of `model_signing`: reads one request per line (JSON), answers each with one line.

One request: do (sign or verify), tree, signature, how, and what else `sign` and `verify` below read. One answer: {"ok": true},
or {"ok": false, "why": TEXT}.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from model_signing import hashing, signing, verifying


def main() -> None:
    answers = sys.stdout
    sys.stdout = sys.stderr  # the library prints warnings where the answers belong
    for line in sys.stdin:
        request = json.loads(line)
        try:
            {"sign": sign, "verify": verify}[request["do"]](request)
            answer: dict[str, Any] = {"ok": True}
        except Exception as error:  # whatever the reference does, it is an answer
            answer = {"ok": False, "why": " ".join(f"{type(error).__name__}: {error}".split())[:200]}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


def sign(request: dict[str, Any]) -> None:
    how, config = request["how"], signing.Config()
    if "pkcs11" in how:
        config.use_pkcs11_signer(pkcs11_uri=how["pkcs11"])
    elif "chain" in how:
        config.use_certificate_signer(
            private_key=how["key"], signing_certificate=how["chain"][0], certificate_chain=how["chain"][1:]
        )
    else:
        config.use_elliptic_key_signer(private_key=how["key"])
    hasher = hashing.Config()
    if "shard_size" in request:
        hasher.use_shard_serialization(
            hashing_algorithm=request.get("hash", "sha256"), shard_size=request["shard_size"]
        )
    else:
        hasher.use_file_serialization(hashing_algorithm=request.get("hash", "sha256"))
    hasher.set_ignored_paths(paths=[request["signature"]])
    config.set_hashing_config(hasher).sign(request["tree"], request["signature"])


def verify(request: dict[str, Any]) -> None:
    how, config = request["how"], verifying.Config()
    if "roots" in how:
        config.use_certificate_verifier(certificate_chain=how["roots"])
    else:
        config.use_elliptic_key_verifier(public_key=how["key"])
    config.set_ignore_unsigned_files(request.get("ignore_unsigned", False))
    config.verify(Path(request["tree"]), Path(request["signature"]))


if __name__ == "__main__":
    main()
