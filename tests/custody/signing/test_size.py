"""A tree of 200,000 files: what signing and verifying its list take, in a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

COUNT = 200_000
MEASURE = """
import hashlib, json, sys, time
from pathlib import Path
from bezoar.custody.signing import keys, oms
from bezoar.custody.signing.signers import KeySigner, KeyVerifier

signer = KeySigner(keys.parse_private(keys.generate("p256", None)[0]))

def resources():
    for number in range(int(sys.argv[1])):
        digest = hashlib.sha256(b"%d" % number).digest()
        yield oms.Resource(f"class-{number // 1000:03d}/{number:06d}.png", digest, "sha256")

def peak():  # MB; `ru_maxrss` would count the parent's, which a process inherits
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:")) / 1024

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


@pytest.mark.skipif(
    not Path("/proc/self/status").is_file(), reason="the system does not say a process's peak memory"
)
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
