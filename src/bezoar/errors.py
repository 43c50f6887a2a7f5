"""The exception tree. Every error that Bezoar raises on purpose is one of these.

```
BezoarError                 exit code 2
├── InputError              something read is missing, malformed or not what was asked for
│   ├── UnknownFormatError  no known dataset format lies at this path
│   └── LimitError          a size cap was exceeded (a decompression bomb, an oversized file)
├── OutputError             something could not be written (it exists, the disk is full)
├── MissingExtraError       an optional dependency is not installed
├── VerificationError       exit code 1: what was read is not what was signed
└── UsageError              exit code 64: the call itself makes no sense
```

A message is one line for a person: what is wrong, where, and what to do.
"""

from __future__ import annotations


class BezoarError(Exception):
    """Base of all errors raised on purpose; `exit_code` is what the command line returns."""

    exit_code = 2


class InputError(BezoarError):
    """Something that was read is missing, malformed or not what was asked for."""


class UnknownFormatError(InputError):
    """No known dataset format lies at this path."""


class LimitError(InputError):
    """A size cap was exceeded; the limit protects against decompression bombs and oversized files."""


class OutputError(BezoarError):
    """Something could not be written; nothing half-written is left behind."""


class MissingExtraError(BezoarError):
    """An optional dependency is not installed; the message names the extra that brings it."""

    def __init__(self, what: str, extra: str) -> None:
        super().__init__(f'{what} needs an optional dependency: pip install "bezoar[{extra}]"')
        self.extra = extra


class VerificationError(BezoarError):
    """What was read is not what was signed, promised or logged: a wrong byte, signature, proof or history."""

    exit_code = 1


class UsageError(BezoarError):
    """The call itself makes no sense: an unknown name, an option out of range."""

    exit_code = 64


def quoted(text: object) -> str:
    """Untrusted text for a message: quoted, printable, at most 80 characters."""
    return ascii(str(text)[:80])
