"""Opening and writing datasets: one `Dataset` of `Record`s over every format."""

from bezoar.data.arrays import from_arrays
from bezoar.data.dataset import NO_LABEL, Dataset, Modality, Reader, Record
from bezoar.data.formats import FORMATS, Format, OpenOptions
from bezoar.data.images import decode, encode
from bezoar.data.loading import Batch, image_sizes, load_images
from bezoar.data.opening import open_dataset as open  # noqa: A004 - `bezoar.data.open` is the documented name
from bezoar.data.opening import write_dataset as write
from bezoar.data.splitting import split, with_labels

__all__ = [
    "FORMATS",
    "NO_LABEL",
    "Batch",
    "Dataset",
    "Format",
    "Modality",
    "OpenOptions",
    "Reader",
    "Record",
    "decode",
    "encode",
    "from_arrays",
    "image_sizes",
    "load_images",
    "open",
    "split",
    "with_labels",
    "write",
]
