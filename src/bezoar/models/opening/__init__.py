"""Opening a suspect model without running its code, and writing it back in the same format (docs/adr/0010)."""

from bezoar.models.opening.model import Model, Preprocessing
from bezoar.models.opening.opening import open_model

__all__ = ["Model", "Preprocessing", "open_model"]
