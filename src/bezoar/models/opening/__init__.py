"""Opening a suspect model without running its code, and writing it back in the same format (docs/adr/0010)."""
