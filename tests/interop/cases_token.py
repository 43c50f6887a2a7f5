"""Keys inside a token (SoftHSM), both ways; and Bezoar's own tests of its extras, which need them installed."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import material
from environments import Environment
from parties import SIGNED, VALID, Reference, bundle_of, seal, verify
from table import Table, note

OURS, THEIRS = "bezoar", "model_signing"
TESTS = Path(__file__).parents[1]
MODULES = ("/usr/lib/softhsm/libsofthsm2.so", "/usr/lib64/pkcs11/libsofthsm2.so", "/usr/lib64/libsofthsm2.so")
_MAKE_KEY = """
import sys, pkcs11
from pkcs11.util.ec import encode_named_curve_parameters
module, label, curve = sys.argv[1:]
token = next(s.get_token() for s in pkcs11.lib(module).get_slots() if s.get_token().label == "lab")
with token.open(user_pin="1234", rw=True) as session:
    parameters = {pkcs11.Attribute.EC_PARAMS: encode_named_curve_parameters(curve)}
    domain = session.create_domain_parameters(pkcs11.KeyType.EC, parameters, local=True)
    domain.generate_keypair(store=True, label=label, id=label.encode())
from bezoar.custody.signing import keys, Pkcs11Signer
uri = f"pkcs11:token=lab;object={label}?module-path={module}&pin-value=1234"
sys.stdout.buffer.write(keys.public_pem(Pkcs11Signer(uri).public_key))
"""


def run(table: Table, tool: Reference, extras: Environment, folder: Path) -> None:
    folder.mkdir()
    table.heading("keys inside a token: SoftHSM")
    module = next((path for path in MODULES if Path(path).is_file()), None)
    if module is None or shutil.which("softhsm2-util") is None:
        table.row("SoftHSM is installed (apt-get install softhsm2)", "machine", "yes", "no")
        return
    (folder / "tokens").mkdir()
    (folder / "softhsm2.conf").write_text(f"directories.tokendir = {folder}/tokens\n")
    os.environ["SOFTHSM2_CONF"] = str(folder / "softhsm2.conf")
    token = ["--init-token", "--free", "--label", "lab", "--pin", "1234", "--so-pin", "5678"]
    subprocess.run(["softhsm2-util", *token], check=True, capture_output=True)
    tree = material.tree(folder / "data" / "tree", material.COLONS)
    for curve in ("secp256r1", "secp384r1", "secp521r1"):
        public = folder / f"{curve}.pub"
        made = subprocess.run(
            [extras.python, "-c", _MAKE_KEY, module, curve, curve], capture_output=True, check=True
        )
        public.write_bytes(made.stdout)
        uri = f"pkcs11:token=lab;object={curve}?module-path={module}&pin-value=1234"
        table.row(f"{curve}: we sign", OURS, SIGNED, seal(tree, "--pkcs11", uri, python=extras.python))
        command = tool.command("verify", "key", "--signature", bundle_of(tree), "--public_key", public, tree)
        table.row(f"{curve}: our bundle (command line)", THEIRS, VALID, command)
        table.row(f"{curve}: our bundle", OURS, VALID, verify(tree, bundle_of(tree), "--key", public))
    _other_way(table, tool, folder, tree, module)
    _tests(table, extras)


def _other_way(table: Table, tool: Reference, folder: Path, tree: Path, module: str) -> None:
    """The reference tool wants `id` or `object`, and its module by path."""
    uri = f"pkcs11:token=lab;object=secp256r1?module-path={module}&pin-value=1234"
    theirs, public = folder / "theirs.sig", folder / "secp256r1.pub"
    signed = SIGNED if _sign_apart(folder, tree, theirs, uri) else "refused"
    table.row("secp256r1: they sign", THEIRS, SIGNED, signed)
    table.row("secp256r1: their bundle", OURS, VALID, verify(tree, theirs, "--key", public))


def _sign_apart(folder: Path, tree: Path, signature: Path, uri: str) -> bool:
    """In a process of its own: the running one was started before the token was."""
    from environments import peer

    program = peer("model_signing").program("model_signing")
    command = [program, "sign", "pkcs11-key", "--signature", signature, "--pkcs11_uri", uri, tree]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        note(f"      model_signing: {(done.stdout + done.stderr).strip()[-200:]}")
    return done.returncode == 0


def _tests(table: Table, extras: Environment) -> None:
    table.heading(
        "our own tests of the extras: tokens, keyless signing through the sigstore client, a Ray cluster"
    )
    for path in (
        "custody/signing/test_pkcs11.py",
        "custody/signing/test_keyless.py",
        "acquire/test_ray.py",
    ):
        command = [
            extras.python,
            "-m",
            "pytest",
            "-q",
            "-n0",
            "-p",
            "no:cacheprovider",
            TESTS / path,
        ]
        name = path.rsplit("/", 1)[-1]
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=TESTS.parent)
        last = done.stdout.strip().splitlines()[-1] if done.stdout.strip() else "no output"
        note(f"      {name}: {last}")
        table.row(name, OURS, "passes", "passes" if done.returncode == 0 else "fails")
