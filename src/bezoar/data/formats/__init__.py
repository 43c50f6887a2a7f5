"""The dataset formats, one module each, registered in the order in which `bezoar.data.open` tries them."""

from bezoar.data.formats.arrow import ArrowFormat
from bezoar.data.formats.base import FORMATS, Format, OpenOptions
from bezoar.data.formats.folder import ImageFolderFormat
from bezoar.data.formats.idx import IdxFormat
from bezoar.data.formats.npz import NpzFormat
from bezoar.data.formats.parquet import ParquetFormat
from bezoar.data.formats.text import TextFormat
from bezoar.data.formats.webdataset import WebDatasetFormat

__all__ = ["FORMATS", "Format", "OpenOptions"]

_BUILT_IN: tuple[Format, ...] = (  # the surest signs first, the image folder last
    ArrowFormat(),
    ParquetFormat(),
    NpzFormat(),
    WebDatasetFormat(),
    IdxFormat(),
    TextFormat("csv"),
    TextFormat("jsonl"),
    ImageFolderFormat(),
)
for _format in _BUILT_IN:
    FORMATS.register(_format.name, _format)
