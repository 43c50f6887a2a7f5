"""Why something that was fetched, or was to be fetched, is not kept. The words are part of the output format."""

from __future__ import annotations

from enum import StrEnum


class Reason(StrEnum):
    """One word for each way in which a download can be wrong."""

    HASH_MISMATCH = "hash_mismatch"
    HASH_MISSING = "hash_missing"
    HASH_MALFORMED = "hash_malformed"
    TOO_LARGE = "too_large"
    DEADLINE = "deadline"
    BLOCKED_ADDRESS = "blocked_address"
    BAD_SCHEME = "bad_scheme"
    BAD_URL = "bad_url"
    DOWNGRADE = "downgrade"
    TOO_MANY_REDIRECTS = "too_many_redirects"
    HTTP_STATUS = "http_status"
    TRUNCATED = "truncated"
    CONNECTION = "connection"
    TLS = "tls"
    OPT_OUT = "opt_out"
    DECODE_ERROR = "decode_error"


class Verdict(StrEnum):
    """What is known of the bytes that arrived: `verified` only against a digest that was known beforehand."""

    VERIFIED = "verified"
    UNVERIFIED = "unverified"
    REJECTED = "rejected"
