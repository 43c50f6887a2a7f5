"""Signing inside a token: URIs anywhere, the rest where SoftHSM and the `pkcs11` extra are installed."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bezoar.custody.signing import oms
from bezoar.custody.signing.pkcs11 import Pkcs11Signer
from bezoar.custody.signing.pkcs11_uri import Pkcs11Uri
from bezoar.custody.signing.signers import KeyVerifier
from bezoar.errors import InputError, MissingExtraError, UsageError
from custody.signing.support import Authority, tree

MODULE = next(
    (
        path
        for path in ("/usr/lib/softhsm/libsofthsm2.so", "/usr/lib64/pkcs11/libsofthsm2.so")
        if Path(path).is_file()
    ),
    "",
)
HAS_EXTRA = importlib.util.find_spec("pkcs11") is not None
needs_token = pytest.mark.skipif(
    not (MODULE and HAS_EXTRA and shutil.which("softhsm2-util")),
    reason="needs SoftHSM (apt-get install softhsm2) and the `pkcs11` extra",
)


@pytest.fixture
def module(tmp_path: Path) -> Path:
    path = tmp_path / "module.so"
    path.touch()
    return path


def test_a_uri_says_everything(module: Path, tmp_path: Path) -> None:
    (tmp_path / "pin").write_text("12 34\n")
    uri = Pkcs11Uri.parse(
        f"pkcs11:token=My%20Lab;manufacturer=M;serial=0%31;model=v2;slot-id=7;object=k%C3%BC;id=%00%ff;type=private"
        f"?module-path={module}&pin-source=file:{tmp_path}/pin"
    )
    assert uri == Pkcs11Uri(module, "My Lab", "M", "01", "v2", 7, "kü", b"\0\xff", "12 34")
    assert Pkcs11Uri.parse(f"pkcs11:object=a?module-path={module}&pin-value=p%26").pin == "p&"
    assert Pkcs11Uri.parse(f"pkcs11:id=a?module-path={module}").pin is None


MALFORMED = {
    "empty": "",
    "another scheme": "file:object=a?module-path=MODULE",
    "upper case": "PKCS11:object=a?module-path=MODULE",
    "no key": "pkcs11:token=a?module-path=MODULE",
    "nothing": "pkcs11:?module-path=MODULE",
    "no module": "pkcs11:object=a",
    "a relative module": "pkcs11:object=a?module-path=module.so",
    "a missing module": "pkcs11:object=a?module-path=/nowhere/module.so",
    "a module of an absurd name": "pkcs11:object=a?module-path=/" + "a" * 300,
    "a folder as module": "pkcs11:object=a?module-path=/tmp",
    "a module name with a path": "pkcs11:object=a?module-name=../module",
    "a module name that is not there": "pkcs11:object=a?module-name=bezoar-nowhere",
    "an unknown attribute": "pkcs11:object=a;colour=red?module-path=MODULE",
    "an unknown option": "pkcs11:object=a?module-path=MODULE&x=1",
    "an attribute without a value": "pkcs11:object?module-path=MODULE",
    "an empty attribute": "pkcs11:object=a;?module-path=MODULE",
    "twice": "pkcs11:object=a;object=b?module-path=MODULE",
    "a broken escape": "pkcs11:object=a%2?module-path=MODULE",
    "an escape that is no hex": "pkcs11:object=a%zz?module-path=MODULE",
    "a label that is not UTF-8": "pkcs11:object=%ff?module-path=MODULE",
    "a zero byte": "pkcs11:object=a%00?module-path=MODULE",
    "a public key": "pkcs11:object=a;type=public?module-path=MODULE",
    "a slot that is no number": "pkcs11:object=a;slot-id=one?module-path=MODULE",
    "a slot with a sign": "pkcs11:object=a;slot-id=-1?module-path=MODULE",
    "two PINs": "pkcs11:object=a?module-path=MODULE&pin-value=1&pin-source=file:/etc/hostname",
    "a missing PIN file": "pkcs11:object=a?module-path=MODULE&pin-source=file:/nowhere/pin",
    "not ASCII": "pkcs11:object=ü?module-path=MODULE",
    "too long": "pkcs11:object=" + "a" * 5000 + "?module-path=MODULE",
}


@pytest.mark.parametrize("name", MALFORMED)
def test_malformed_uris_give_one_typed_error(name: str, module: Path) -> None:
    with pytest.raises(InputError) as caught:
        Pkcs11Uri.parse(MALFORMED[name].replace("MODULE", str(module)))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("rest", [";pin-value=secret", "&pin-value=12&secret", "&pin-value=1;secret"])
def test_a_pin_is_never_part_of_an_error(rest: str, module: Path) -> None:
    with pytest.raises(InputError) as caught:
        Pkcs11Uri.parse(f"pkcs11:object=a?module-path={module}{rest}")
    assert "secret" not in str(caught.value)


@given(st.text(max_size=60))
def test_any_text_gives_an_input_error(text: str) -> None:
    for uri in (text, f"pkcs11:{text}", f"pkcs11:object=a?module-path={text}"):
        with pytest.raises(InputError):
            Pkcs11Uri.parse(uri)


@pytest.mark.skipif(HAS_EXTRA, reason="the `pkcs11` extra is installed")
def test_without_the_extra_the_error_names_it(module: Path) -> None:
    with pytest.raises(MissingExtraError, match=r"bezoar\[pkcs11\]"):
        Pkcs11Signer(f"pkcs11:object=a?module-path={module}")


CURVES = ("secp256r1", "secp384r1", "secp521r1")


@pytest.fixture(scope="module")
def token(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A SoftHSM token with a key on each curve, one RSA key, and two keys of one name."""
    import pkcs11
    from pkcs11.util.ec import encode_named_curve_parameters

    folder = tmp_path_factory.mktemp("softhsm")
    (folder / "tokens").mkdir()
    (folder / "softhsm2.conf").write_text(f"directories.tokendir = {folder}/tokens\n")
    before = os.environ.get("SOFTHSM2_CONF")
    os.environ["SOFTHSM2_CONF"] = str(folder / "softhsm2.conf")
    subprocess.run(
        ["softhsm2-util", "--init-token", "--free", "--label", "lab", "--pin", "1234", "--so-pin", "5678"],
        check=True,
        capture_output=True,
    )
    (lab,) = [slot.get_token() for slot in pkcs11.lib(MODULE).get_slots() if slot.get_token().label == "lab"]
    with lab.open(user_pin="1234", rw=True) as session:
        for name, curve in [
            *((curve, curve) for curve in CURVES),
            ("twin", CURVES[0]),
            ("twin", CURVES[0]),
            ("bitcoin", "secp256k1"),
        ]:
            parameters = {pkcs11.Attribute.EC_PARAMS: encode_named_curve_parameters(curve)}
            domain = session.create_domain_parameters(pkcs11.KeyType.EC, parameters, local=True)
            domain.generate_keypair(store=True, label=name, id=name.encode())
        session.generate_keypair(pkcs11.KeyType.RSA, 2048, store=True, label="rsa")
    yield f"pkcs11:token=lab;object=%s?module-path={MODULE}"
    pkcs11.unload(MODULE)
    if before is None:
        del os.environ["SOFTHSM2_CONF"]
    else:
        os.environ["SOFTHSM2_CONF"] = before


@needs_token
@pytest.mark.parametrize("curve", CURVES)
def test_round_trip_in_the_token(token: str, curve: str) -> None:
    one = Pkcs11Signer(token % curve, "1234")
    found = oms.verify_bundle(
        oms.read_bundle(oms.sign_tree(tree(), one)), KeyVerifier(one.public_key, "token")
    )
    assert found.signer == "token"
    again = Pkcs11Signer(f"{token % curve}&pin-value=1234".replace("object=", f"id={curve};object="))
    assert again.keyid == one.keyid


@needs_token
def test_a_certificate_of_the_tokens_key(token: str) -> None:
    from bezoar.custody.signing.certificates import CertificateVerifier
    from custody.signing.support import NOW

    public = Pkcs11Signer(token % "secp256r1", "1234").public_key
    root = Authority()
    chain = [root.certify("Token", public)]
    bundle = oms.sign_tree(tree(), Pkcs11Signer(token % "secp256r1", "1234", chain))
    assert (
        oms.verify_bundle(
            oms.read_bundle(bundle), CertificateVerifier([root.certificate], "Token", NOW)
        ).signer
        == "Token"
    )
    with pytest.raises(UsageError, match="not the one of the private key"):
        Pkcs11Signer(token % "secp384r1", "1234", chain)


@needs_token
@pytest.mark.parametrize(
    ("name", "pin", "message"),
    [
        ("secp256r1", "4321", "refuses the PIN"),
        ("secp256r1", None, "a PIN may be needed"),
        ("nothing", "1234", "0 public keys"),
        ("twin", "1234", "2 public keys"),
        ("rsa", "1234", "not an ECDSA key"),
        ("bitcoin", "1234", "kind of key"),
    ],
)
def test_what_a_token_refuses(token: str, name: str, pin: str | None, message: str) -> None:
    with pytest.raises(InputError, match=message):
        Pkcs11Signer(token % name, pin)


@needs_token
def test_a_file_that_is_no_module_and_a_token_that_is_not_there(token: str, module: Path) -> None:
    with pytest.raises(InputError, match="PKCS#11 token failed"):
        Pkcs11Signer(f"pkcs11:object=a?module-path={module}")
    with pytest.raises(InputError, match="matches 0 tokens"):
        Pkcs11Signer((token % "a").replace("token=lab", "token=other"))
