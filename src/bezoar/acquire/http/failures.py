"""What libcurl's error numbers (`curl/curl.h`, CURLE_*) mean for a download."""

from __future__ import annotations

from bezoar.acquire.http.slot import Slot
from bezoar.acquire.reasons import Reason

_REASONS = {
    3: Reason.BAD_URL,  # URL_MALFORMAT
    18: Reason.TRUNCATED,  # PARTIAL_FILE
    35: Reason.TLS,  # SSL_CONNECT_ERROR
    53: Reason.TLS,  # SSL_ENGINE_NOTFOUND
    58: Reason.TLS,  # SSL_CERTPROBLEM
    59: Reason.TLS,  # SSL_CIPHER
    60: Reason.TLS,  # PEER_FAILED_VERIFICATION
    64: Reason.TLS,  # USE_SSL_FAILED
    77: Reason.TLS,  # SSL_CACERT_BADFILE
    83: Reason.TLS,  # SSL_ISSUER_ERROR
    90: Reason.TLS,  # SSL_PINNEDPUBKEYNOTMATCH
    91: Reason.TLS,  # SSL_INVALIDCERTSTATUS
    98: Reason.TLS,  # SSL_CLIENTCERT
    100: Reason.TOO_LARGE,  # TOO_LARGE: of heads
}
_MOST_OF_A_HEAD = 200 << 10  # bytes; libcurl gives up at 300 KB, with the error of a broken connection
LINE_LOST = (52, 55, 56)  # GOT_NOTHING, SEND_ERROR, RECV_ERROR
CONNECT_TIMEOUT = 28  # OPERATION_TIMEDOUT; deadlines are kept by the engine


def explain(slot: Slot, code: int, message: str) -> tuple[Reason, str]:
    """Reason and detail of a hop that libcurl gave up with this error."""
    words = one_line(message) or f"libcurl error {code}"
    if slot.answer is None and slot.blocked:
        return (
            Reason.BLOCKED_ADDRESS,
            f"{slot.transfer.target.host} is at {slot.blocked}, which is not a public address",
        )
    if slot.answer is None and slot.head_size() > _MOST_OF_A_HEAD:
        return Reason.TOO_LARGE, f"endless headers: {words}"
    if code in _REASONS:
        return _REASONS[code], words
    return (Reason.CONNECTION if slot.answer is None else Reason.TRUNCATED), words


def one_line(text: str) -> str:
    """At most 200 characters, all of them printable."""
    return "".join(c if c.isprintable() else "?" for c in text)[:200]
