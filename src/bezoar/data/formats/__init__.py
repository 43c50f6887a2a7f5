"""The dataset formats, one module each, registered in the order in which `bezoar.data.open` tries them."""

# isort: off - the order of import is the order of trying: the surest signs first, the image folder last
from bezoar.data.formats import arrow, parquet, npz, webdataset, idx, text, folder  # noqa: F401

# isort: on
from bezoar.data.formats.base import FORMATS, Format, OpenOptions

__all__ = ["FORMATS", "Format", "OpenOptions"]
