"""A tree of 200,000 files: what signing and verifying its list take, in a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys

COUNT = 200_000
MEASURE = """
import hashlib, json, resource, sys, time
from bezoar.custody.signing import keys, oms
from bezoar.custody.signing.signers import KeySigner, KeyVerifier

signer = KeySigner(keys.parse_private(keys.generate("p256", None)[0]))

def resources():
    for number in range(int(sys.argv[1])):
        digest = hashlib.sha256(b"%d" % number).digest()
        yield oms.Resource(f"class-{number // 1000:03d}/{number:06d}.png", digest, "sha256")

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024

serialization = {"method": "files", "hash_type": "sha256", "allow_symlinks": False, "ignore_paths": []}
root = oms.root_of(one.digest for one in resources())
start = time.process_time()
bundle = oms.sign_tree(oms.SignedTree("ds", root, resources(), serialization), signer)
signed, signed_mb = time.process_time() - start, peak()
start = time.process_time()
tree = oms.verify_bundle(oms.read_bundle(bundle), KeyVerifier(signer.public_key))
print(json.dumps({"sign": signed, "sign_mb": signed_mb, "verify": time.process_time() - start,
                  "verify_mb": peak(), "found": len(tree.resources), "bundle_mb": len(bundle) / 2**20}))
"""


def test_two_hundred_thousand_files_stay_small() -> None:
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, str(COUNT)], capture_output=True, text=True, check=True
    )
    found = json.loads(done.stdout)
    assert found["found"] == COUNT
    assert found["sign_mb"] < 130, found
    assert found["verify_mb"] < 200, found
    assert found["sign"] < 5, found
    assert found["verify"] < 5, found
