"""A stand-in for a Sigstore instance on loopback: a certificate authority, a certificate log and a transparency log.

It speaks as much of Fulcio's and Rekor's interfaces as the `sigstore` package asks for, so that signing and verifying run through
the real client. It issues a certificate to whoever the token names, without checking the token.
"""

from __future__ import annotations

import base64
import hashlib
import json
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import rfc8785
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

ISSUER = "https://issuer.example.org"
_START = {"start": "2020-01-01T00:00:00Z"}
_SCT_LIST = x509.ObjectIdentifier("1.3.6.1.4.1.11129.2.4.2")
_OIDC_ISSUER = x509.ObjectIdentifier("1.3.6.1.4.1.57264.1.1")
_SHA256_WITH_ECDSA = b"\x04\x03"


def token(identity: str) -> str:
    """An identity token (JWT) that nobody signed, valid for ten minutes."""
    now = int(time.time())
    claims = {"aud": "sigstore", "sub": identity, "iss": ISSUER, "iat": now, "exp": now + 600}
    parts = [json.dumps({"alg": "HS256", "typ": "JWT"}), json.dumps(claims), "none"]
    return ".".join(base64.urlsafe_b64encode(part.encode()).decode().rstrip("=") for part in parts)


class Instance:
    """The keys and the root of one instance; `url` is where it listens."""

    def __init__(self) -> None:
        self.ca_key, self.ct_key, self.log_key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(3))
        self.root = self._root()
        self.url = ""

    def trusted_root(self) -> dict[str, Any]:
        return {
            "mediaType": "application/vnd.dev.sigstore.trustedroot+json;version=0.1",
            "tlogs": [self._log(self.log_key)],
            "ctlogs": [self._log(self.ct_key)],
            "certificateAuthorities": [
                {
                    "subject": {"organization": "standin", "commonName": "standin"},
                    "uri": self.url,
                    "certChain": {"certificates": [{"rawBytes": _b64(self.root.public_bytes(Encoding.DER))}]},
                    "validFor": _START,
                }
            ],
            "timestampAuthorities": [],
        }

    def trust_config(self) -> dict[str, Any]:
        service = {"url": self.url, "majorApiVersion": 1, "validFor": _START, "operator": "standin"}
        return {
            "mediaType": "application/vnd.dev.sigstore.clienttrustconfig.v0.1+json",
            "trustedRoot": self.trusted_root(),
            "signingConfig": {
                "mediaType": "application/vnd.dev.sigstore.signingconfig.v0.2+json",
                "caUrls": [service],
                "oidcUrls": [service],
                "rekorTlogUrls": [service],
                "tsaUrls": [],
                "rekorTlogConfig": {"selector": "ANY"},
                "tsaConfig": {"selector": "ANY"},
            },
        }

    def certify(self, request_pem: bytes, identity: str) -> list[str]:
        """A certificate of ten minutes for a request's key, with a signed certificate timestamp, and the root."""
        request = x509.load_pem_x509_csr(request_pem)
        now = datetime.now(UTC).replace(microsecond=0)
        builder = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([]))
            .issuer_name(self.root.subject)
            .public_key(request.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(seconds=5))
            .not_valid_after(now + timedelta(minutes=10))
            .add_extension(
                x509.KeyUsage(True, False, False, False, False, False, False, False, False), critical=True
            )
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CODE_SIGNING]), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self.ca_key.public_key()), critical=False
            )
            .add_extension(x509.SubjectAlternativeName([x509.RFC822Name(identity)]), critical=True)
            .add_extension(x509.UnrecognizedExtension(_OIDC_ISSUER, ISSUER.encode()), critical=False)
        )
        without = builder.sign(self.ca_key, hashes.SHA256())
        timestamps = self._timestamps(without.tbs_certificate_bytes)
        final = builder.add_extension(x509.UnrecognizedExtension(_SCT_LIST, timestamps), critical=False)
        certificate = final.sign(self.ca_key, hashes.SHA256())
        return [one.public_bytes(Encoding.PEM).decode() for one in (certificate, self.root)]

    def enter(self, proposed: dict[str, Any]) -> dict[str, Any]:
        """The log's answer to a proposed entry: the second of two, with proof, checkpoint and promise."""
        content = proposed["spec"]["proposedContent"]
        envelope = json.loads(content["envelope"])
        body = rfc8785.dumps(
            {
                "apiVersion": "0.0.1",
                "kind": "dsse",
                "spec": {
                    "envelopeHash": _hash(content["envelope"].encode()),
                    "payloadHash": _hash(base64.b64decode(envelope["payload"])),
                    "signatures": [
                        {"signature": envelope["signatures"][0]["sig"], "verifier": content["verifiers"][0]}
                    ],
                },
            }
        )
        first, leaf = (hashlib.sha256(b"\0" + data).digest() for data in (b"the first entry", body))
        root = hashlib.sha256(b"\1" + first + leaf).digest()
        log_id = _key_id(self.log_key)
        entry = {
            "body": _b64(body),
            "integratedTime": int(time.time()),
            "logID": log_id.hex(),
            "logIndex": 1,
        }
        text = f"standin - 1\n2\n{_b64(root)}\n"
        signature = _b64(log_id[:4] + self._sign(self.log_key, text.encode()))
        proof = {
            "logIndex": 1,
            "treeSize": 2,
            "rootHash": root.hex(),
            "hashes": [first.hex()],
            "checkpoint": f"{text}\n\u2014 standin {signature}\n",
        }
        promise = _b64(self._sign(self.log_key, rfc8785.dumps(entry)))
        return {
            "0" * 64: {**entry, "verification": {"inclusionProof": proof, "signedEntryTimestamp": promise}}
        }

    def _timestamps(self, tbs: bytes) -> bytes:
        """The extension's value (RFC 6962, 3.3): one timestamp by the certificate log, of the certificate without it."""
        when = struct.pack("!Q", int(time.time() * 1000))
        signed = (
            b"\0\0" + when + b"\0\1" + _key_id(self.ca_key) + struct.pack("!I", len(tbs))[1:] + tbs + b"\0\0"
        )
        signature = self._sign(self.ct_key, signed)
        one = b"\0" + _key_id(self.ct_key) + when + b"\0\0" + _SHA256_WITH_ECDSA + _prefixed(signature)
        listed = _prefixed(_prefixed(one))
        return b"\x04" + (bytes([len(listed)]) if len(listed) < 128 else bytes([0x81, len(listed)])) + listed

    def _root(self) -> x509.Certificate:
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "standin")])
        public = self.ca_key.public_key()
        return (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(public)
            .serial_number(x509.random_serial_number())
            .not_valid_before(datetime(2020, 1, 1, tzinfo=UTC))
            .not_valid_after(datetime(2100, 1, 1, tzinfo=UTC))
            .add_extension(x509.BasicConstraints(True, 0), critical=True)
            .add_extension(
                x509.KeyUsage(False, False, False, False, False, True, True, False, False), critical=True
            )
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
            .sign(self.ca_key, hashes.SHA256())
        )

    def _log(self, key: ec.EllipticCurvePrivateKey) -> dict[str, Any]:
        return {
            "baseUrl": self.url,
            "hashAlgorithm": "SHA2_256",
            "publicKey": {
                "rawBytes": _b64(_spki(key)),
                "keyDetails": "PKIX_ECDSA_P256_SHA_256",
                "validFor": _START,
            },
            "logId": {"keyId": _b64(_key_id(key))},
        }

    @staticmethod
    def _sign(key: ec.EllipticCurvePrivateKey, data: bytes) -> bytes:
        return key.sign(data, ec.ECDSA(hashes.SHA256()))


@contextmanager
def running() -> Iterator[Instance]:
    """An instance that listens on loopback until the block ends."""
    instance = Instance()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            sent = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            if self.path == "/api/v2/signingCert":
                claims = self.headers["Authorization"].split(".")[1]
                identity = json.loads(base64.urlsafe_b64decode(claims + "=="))["sub"]
                chain = instance.certify(base64.b64decode(sent["certificateSigningRequest"]), identity)
                self.answer(200, {"signedCertificateEmbeddedSct": {"chain": {"certificates": chain}}})
            elif self.path == "/api/v1/log/entries":
                self.answer(201, instance.enter(sent))
            else:
                self.answer(404, {})

        def answer(self, status: int, fields: dict[str, Any]) -> None:
            body = json.dumps(fields).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """No lines on standard error."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    instance.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield instance
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _spki(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def _key_id(key: ec.EllipticCurvePrivateKey) -> bytes:
    return hashlib.sha256(_spki(key)).digest()


def _hash(data: bytes) -> dict[str, str]:
    return {"algorithm": "sha256", "value": hashlib.sha256(data).hexdigest()}


def _prefixed(data: bytes) -> bytes:
    return struct.pack("!H", len(data)) + data


def _b64(data: bytes) -> str:
    return base64.b64encode(data).decode()
