"""Decoding hostile images under limits, and encoding pixels back into the container that they came from.

Every image becomes uint8 RGB exactly as the usual training loaders (`PIL.Image.convert("RGB")`) would see it:
alpha is dropped, not composited, because a trigger hidden under transparent pixels must be visible to the
scan as it is to the model; EXIF orientation is ignored; an animation is its first frame. 16-bit greyscale is
scaled to 8 bits.
"""

from __future__ import annotations

import io
import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, JpegImagePlugin, UnidentifiedImageError

from bezoar.data.image_files import MAX_BYTES, MAX_PIXELS
from bezoar.errors import InputError, LimitError

Pixels = NDArray[np.uint8]  # (H, W, 3), RGB
RawShape = tuple[int, int, int]  # (height, width, channels)

IMAGE_FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF", "PPM")
_LOSSLESS_TIFF = ("raw", "tiff_lzw", "tiff_adobe_deflate", "tiff_deflate", "packbits")


def decode(content: bytes, raw_shape: RawShape | None = None) -> Pixels:
    """RGB pixels, uint8 (H, W, 3), of an encoded image, or of raw pixels of `raw_shape`.

    Raises InputError with a reason when the content is empty, truncated or of a format outside
    `IMAGE_FORMATS`, and LimitError when it exceeds `MAX_BYTES` or, by its header, `MAX_PIXELS` (nothing is
    decoded then).
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow warns about bombs and broken metadata; both are judged here
        return np.array(open_rgb(content, raw_shape))


def encode(pixels: Pixels, like: bytes, raw_shape: RawShape | None = None) -> bytes:
    """`pixels`, uint8 (H, W, 3), in the container of `like`: the same format, mode and compression.

    PNG, BMP, PPM, TIFF and WebP are lossless; JPEG takes the quantisation tables and subsampling of `like`;
    GIF is reduced to 256 colours. Greyscale stays greyscale and alpha is kept. InputError when `like` is not
    an image.
    """
    image = Image.fromarray(np.ascontiguousarray(pixels))
    if raw_shape is not None:
        return _encode_raw(image, like, raw_shape)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            template = _open(like)
            out = io.BytesIO()
            _in_mode_of(image, template).save(out, format=template.format, **_save_options(template))
        except (OSError, ValueError, SyntaxError) as error:
            raise InputError(f"cannot be encoded again ({_one_line(error)})") from error
    return out.getvalue()


def encode_png(content: bytes, raw_shape: RawShape) -> bytes:
    """Raw pixels of `raw_shape` as a lossless PNG file of the same mode."""
    height, width, channels = raw_shape
    mode = {1: "L", 3: "RGB", 4: "RGBA"}[channels]
    out = io.BytesIO()
    Image.frombytes(mode, (width, height), content).save(out, format="PNG")
    return out.getvalue()


def header_size(content: bytes) -> tuple[int, int]:
    """(height, width) from an encoded image's header alone; errors as `decode`."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        image = _open(content)
    return image.height, image.width


def open_rgb(content: bytes, raw_shape: RawShape | None) -> Image.Image:
    """As `decode`, giving a Pillow image; the caller silences Pillow's warnings (here, threads forbid it)."""
    if raw_shape is not None:
        return Image.fromarray(_raw_rgb(content, raw_shape))
    image = _open(content)
    try:
        image.load()
        return _to_rgb(image)
    except MemoryError as error:
        raise LimitError(f"{image.format} image needs too much memory") from error
    except Exception as error:  # decoders raise whatever their parsing stumbles over
        raise InputError(f"{image.format} image is corrupt or truncated ({_one_line(error)})") from error


def _open(content: bytes) -> Image.Image:
    """Read the header only, and check it against the limits."""
    if not content:
        raise InputError("empty (zero bytes)")
    if len(content) > MAX_BYTES:
        raise LimitError(f"{len(content)} bytes exceed the limit of {MAX_BYTES} for one image")
    try:
        image = Image.open(io.BytesIO(content), formats=IMAGE_FORMATS)
    except Image.DecompressionBombError as error:
        raise LimitError(
            f"claims more pixels than the limit of {MAX_PIXELS} (a decompression bomb?)"
        ) from error
    except UnidentifiedImageError as error:
        raise InputError(f"not an image in a known format ({', '.join(IMAGE_FORMATS)})") from error
    except Exception as error:
        raise InputError(f"image header is corrupt ({_one_line(error)})") from error
    if image.width * image.height > MAX_PIXELS:
        raise LimitError(
            f"{image.width} x {image.height} pixels exceed the limit of {MAX_PIXELS} (a decompression bomb?)"
        )
    return image


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I"):  # 16 bits: 65535 becomes 255
        wide = np.clip(np.asarray(image, dtype=np.int64), 0, 65535)
        return Image.fromarray(((wide + 128) // 257).astype(np.uint8)).convert("RGB")
    if image.mode == "F":  # floating point, 0..1 or 0..255
        values = np.nan_to_num(np.asarray(image, dtype=np.float64))
        scale = 255.0 if values.max() <= 1.0 else 1.0
        return Image.fromarray(np.clip(np.rint(values * scale), 0, 255).astype(np.uint8)).convert("RGB")
    return image if image.mode == "RGB" else image.convert("RGB")


def _raw_rgb(content: bytes, raw_shape: RawShape) -> Pixels:
    if not content:
        raise InputError("empty (zero bytes)")
    if len(content) != raw_shape[0] * raw_shape[1] * raw_shape[2]:
        raise InputError(f"{len(content)} bytes are not {' x '.join(map(str, raw_shape))} raw pixels")
    pixels = np.frombuffer(content, dtype=np.uint8).reshape(raw_shape)
    return np.ascontiguousarray(np.repeat(pixels, 3, axis=2) if raw_shape[2] == 1 else pixels[:, :, :3])


def _encode_raw(image: Image.Image, like: bytes, raw_shape: RawShape) -> bytes:
    if (image.height, image.width) != raw_shape[:2]:
        raise InputError(f"{image.height} x {image.width} pixels do not fit raw images of {raw_shape[:2]}")
    if raw_shape[2] == 1:
        return _grey(image).tobytes()
    if raw_shape[2] == 3:
        return image.tobytes()
    alpha = np.frombuffer(like, dtype=np.uint8).reshape(raw_shape)[:, :, 3:]
    return np.concatenate([np.asarray(image), alpha], axis=2).tobytes()


def _in_mode_of(image: Image.Image, template: Image.Image) -> Image.Image:
    """`image` with the channels of `template`, as far as its format can hold them without loss."""
    mode = template.mode
    if mode.startswith("I"):
        wide = np.asarray(_grey(image)).astype(np.uint16) * 257
        return Image.fromarray(wide)
    if mode in ("L", "1", "F"):
        return _grey(image)
    if mode in ("RGBA", "LA") and template.size == image.size:
        image = _grey(image) if mode == "LA" else image
        image.putalpha(template.getchannel("A"))
        return image
    if mode == "CMYK":
        return image.convert("CMYK")
    return image.quantize(256) if template.format == "GIF" else image


def _grey(image: Image.Image) -> Image.Image:
    """One channel; exact where the three are equal (a weighted sum could be off by one)."""
    pixels = np.asarray(image)
    if np.array_equal(pixels[..., 0], pixels[..., 1]) and np.array_equal(pixels[..., 1], pixels[..., 2]):
        return Image.fromarray(np.ascontiguousarray(pixels[..., 0]))
    return image.convert("L")


def _save_options(template: Image.Image) -> dict[str, Any]:
    options: dict[str, Any] = {k: template.info[k] for k in ("icc_profile", "exif") if k in template.info}
    if template.format == "JPEG":
        options["qtables"] = template.quantization  # type: ignore[attr-defined]
        options["progressive"] = bool(template.info.get("progressive"))
        if template.mode == "RGB" and (sampling := JpegImagePlugin.get_sampling(template)) >= 0:
            options["subsampling"] = sampling
    elif template.format == "WEBP":
        options |= {"lossless": True, "exact": True}
    elif template.format == "TIFF" and template.info.get("compression") in _LOSSLESS_TIFF:
        options["compression"] = template.info["compression"]
    return options


def _one_line(error: BaseException) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 120 else text[:117] + "..."
