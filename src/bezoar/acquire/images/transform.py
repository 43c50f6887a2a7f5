"""Decoding an image in full and encoding it again. This runs in a process of its own (`worker`): here hostile bytes meet code
that was written for speed.

What becomes of what JPEG cannot hold: an animation is its first frame, transparency is laid over white, CMYK and palettes
become RGB, 16 bits become 8, an EXIF orientation is carried out, and all metadata (EXIF, ICC) are left behind.
"""

from __future__ import annotations

import io
import warnings

from PIL import Image, ImageOps

from bezoar.acquire.images.options import ENCODE_FORMATS, Reencode, unsuitable
from bezoar.acquire.images.protocol import Encoded
from bezoar.data.image_files import MAX_PIXELS

READABLE = ("JPEG", "PNG", "WEBP", "GIF", "BMP")
_ORIENTATION = 0x0112
_SIDEWAYS = (5, 6, 7, 8)
_WHITE = (255, 255, 255)
_LONGEST_SIDE = {"jpg": 65_500, "webp": 16_383}  # pixels that libjpeg and WebP can hold


def transform(content: bytes, options: Reencode) -> Encoded | str:
    """The image as `options` want it, or one line on why it is none."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return _transform(content, options)
    except MemoryError:
        return "the image needs too much memory"
    except Exception as error:  # decoders raise whatever their parsing stumbles over
        return f"the image is corrupt or truncated ({' '.join(str(error).split())[:120] or type(error).__name__})"


def _transform(content: bytes, options: Reencode) -> Encoded | str:
    image: Image.Image = Image.open(io.BytesIO(content), formats=READABLE)
    original = image.size
    if original[0] * original[1] > MAX_PIXELS:
        return f"{original[0]} x {original[1]} pixels exceed the limit of {MAX_PIXELS:,}"
    if problem := unsuitable(*original, options):
        return problem
    found, target = image.format, _target(original, options)
    if target and (problem := _too_large(target, options)):
        return problem
    if target and image.format == "JPEG":
        image.draft(None, target)  # decodes at a half, a quarter, an eighth, still no smaller than the target
    image.load()
    kept = options.skip_reencode and found == ENCODE_FORMATS[options.encode_format]
    if kept and not target and not image.has_transparency_data:
        return Encoded(content, *original, *original)
    orientation = image.getexif().get(_ORIENTATION, 1)
    image = _plain(ImageOps.exif_transpose(image) if orientation != 1 else image)
    if target:
        method = Image.Resampling.BOX if max(target) < max(original) else Image.Resampling.LANCZOS
        image = image.resize(target[::-1] if orientation in _SIDEWAYS else target, method)
        image = _framed(image, options)
    return Encoded(_encoded(image, options), *image.size, *original)


def _target(size: tuple[int, int], options: Reencode) -> tuple[int, int] | None:
    """Width and height to scale to; None when the image stays as it is."""
    if options.resize_mode == "no":
        return None
    side = max(size) if options.resize_mode in ("border", "keep_ratio_largest") else min(size)
    if options.only_if_bigger and side <= options.size:
        return None
    width, height = (max(1, round(length * options.size / side)) for length in size)
    return width, height


def _too_large(size: tuple[int, int], options: Reencode) -> str | None:
    """Why an image cannot be scaled to this size: a long one whose shorter side is enlarged may have any number of pixels."""
    width, height = size
    longest = _LONGEST_SIDE.get(options.encode_format)
    if width * height > MAX_PIXELS:
        return f"scaled to {width} x {height} pixels it exceeds the limit of {MAX_PIXELS:,}"
    if longest is not None and max(size) > longest and options.resize_mode != "center_crop":
        return f"scaled to {width} x {height} pixels it is longer than {options.encode_format} can hold"
    return None


def _plain(image: Image.Image) -> Image.Image:
    """Grey or RGB, 8 bits, without metadata."""
    if image.mode.startswith("I"):
        plain = image.convert("I").point(lambda value: value * (255 / 65_535) + 0.5).convert("L")
    elif image.has_transparency_data:
        above = image.convert("RGBA")
        plain = Image.new("RGBA", image.size, (*_WHITE, 255))
        plain.alpha_composite(above)
        plain = plain.convert("RGB")
    elif image.mode in ("L", "RGB"):
        plain = image
    else:
        plain = image.convert("L" if image.mode == "1" else "RGB")
    plain.info = {}  # encoders would write down what is left in it
    return plain


def _framed(image: Image.Image, options: Reencode) -> Image.Image:
    """The square that two of the modes want."""
    if options.resize_mode == "center_crop":
        left, top = ((length - options.size) // 2 for length in image.size)
        return image.crop((left, top, left + options.size, top + options.size))
    if options.resize_mode == "border":
        square = Image.new(image.mode, (options.size, options.size), 255 if image.mode == "L" else _WHITE)
        left, top = ((options.size - length) // 2 for length in image.size)
        square.paste(image, (left, top))
        return square
    return image


def _encoded(image: Image.Image, options: Reencode) -> bytes:
    out = io.BytesIO()
    level = (
        {"compress_level": options.quality}
        if options.encode_format == "png"
        else {"quality": options.quality}
    )
    image.save(out, format=ENCODE_FORMATS[options.encode_format], **level)
    return out.getvalue()
