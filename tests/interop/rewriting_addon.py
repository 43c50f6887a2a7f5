"""Runs inside mitmproxy: changes every body, in one of three ways, when REWRITE says so."""

from __future__ import annotations

import os
import re

from mitmproxy import http

_OTHER = bytes.fromhex("ffd8ffe000104a46494600010100000100010000ffd9")  # begins and ends as a JPEG


def response(flow: http.HTTPFlow) -> None:
    if os.environ.get("REWRITE") != "rewrite" or flow.response is None or not flow.response.raw_content:
        return
    number = int("".join(re.findall(r"/([0-9]+)\.jpg", flow.request.path)) or 0)
    body = bytearray(flow.response.raw_content)
    if number % 3 == 0:  # one flipped bit, the length stays
        body[len(body) // 2] ^= 1
    elif number % 3 == 1:
        body += b"\0"
    else:
        body = bytearray(_OTHER)
    flow.response.content = bytes(body)  # the Content-Length follows
