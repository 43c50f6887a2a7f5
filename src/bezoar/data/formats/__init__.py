"""The dataset formats, one module each, registered in the order in which `bezoar.data.open` tries them."""

from bezoar.data.formats import parquet  # noqa: F401, I001 - the order of registration is the order of trying
from bezoar.data.formats import idx, folder  # noqa: F401
from bezoar.data.formats.base import FORMATS, Format, OpenOptions

__all__ = ["FORMATS", "Format", "OpenOptions"]
