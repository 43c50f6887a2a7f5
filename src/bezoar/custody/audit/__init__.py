"""The audit of a dataset: its books, the policy, and the auditor's statement. Names are loaded on first use."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bezoar.custody.audit.auditing import Scope, audit
    from bezoar.custody.audit.policy import Policy
    from bezoar.custody.audit.statement import AuditStatement, sign_statement

__all__ = ["AuditStatement", "Policy", "Scope", "audit", "sign_statement"]

_HOME = {
    "AuditStatement": "statement",
    "Policy": "policy",
    "Scope": "auditing",
    "audit": "auditing",
    "sign_statement": "statement",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
