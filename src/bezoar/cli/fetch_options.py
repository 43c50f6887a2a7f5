"""The options of `bezoar fetch` for lists, and what they come to.

They are img2dataset's, with dashes or underscores, and ours beside them. Where img2dataset has a choice that is not offered here,
saying so takes one line; nothing is silently ignored that would change the result.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from bezoar.cli.options import PATH
from bezoar.errors import UsageError

if TYPE_CHECKING:
    from bezoar.acquire import FetchOptions, UrlList

_OPT_OUTS = ("noai", "noimageai", "noindex", "noimageindex")  # spelled out, so that --help loads no fetching
_MEGABYTES = 64


def _words(value: str | tuple[str, ...]) -> tuple[str, ...]:
    """A list as img2dataset's command line takes it: `a,b` or `["a","b"]` or `['a','b']`."""
    if isinstance(value, tuple):
        return value
    words: Any = [] if value in ("", "None") else value.split(",")
    if value.strip().startswith("["):
        try:
            words = json.loads(value.replace("'", '"'))
        except ValueError:  # without quotes: [a,b]
            words = value.strip().removeprefix("[").removesuffix("]").split(",")
    if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
        raise click.BadParameter(f"{value!r} is no list of words.")
    return tuple(word.strip() for word in words if word.strip())


def _word_or_none(value: str) -> str | None:
    """A name; `None` is how img2dataset's users write that there is none."""
    return None if value == "None" else value


def _number(value: str | float) -> float:
    """A number above 0, or `inf`."""
    try:
        number = float(value)
    except ValueError:
        number = 0.0
    if not number > 0:
        raise click.BadParameter(f"{value!r} is not a number above 0.")
    return number


COUNT = click.IntRange(min=1)


def _yes(name: str, help_text: str) -> Callable[..., Any]:
    """An option that img2dataset's users write as `--x`, `--x True` or `--x=False`."""
    return click.option(
        name, type=click.BOOL, is_flag=False, flag_value="true", default=False, help=help_text
    )


def list_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Every option that says how a list is fetched, arguments of `open_list` and `fetch_options`."""
    for option in reversed((*_LIST, *_OUTPUT, *_NETWORK, *_IMAGES, *_FOREIGN)):
        function = option(function)
    return function


_LIST = (
    click.option("--url-list", type=str, metavar="SOURCE", help="The list, instead of the first argument."),
    click.option("--output-folder", type=PATH, metavar="OUT", help="The output, instead of the second."),
    click.option(
        "--input-format",
        metavar="KIND",
        help="txt, csv, tsv, jsonl, json or parquet; by default as the suffix says.",
    ),
    click.option("--url-col", metavar="NAME", help="Column of the URLs; by default `url` in any case."),
    click.option(
        "--caption-col",
        type=_word_or_none,
        metavar="NAME",
        help="Column of the captions; by default `caption` or `text`.",
    ),
    click.option(
        "--verify-hash",
        type=_words,
        metavar="COLUMN,KIND",
        help="Column of the expected hashes, and sha256, sha512, sha1 or md5; by default `sha256` where there is one.",
    ),
    click.option(
        "--require-hash", is_flag=True, help="Reject rows without an expected hash; they are not asked for."
    ),
    click.option(
        "--index-key",
        type=PATH,
        multiple=True,
        metavar="PUB",
        help="Refuse the list unless this key has signed it with its SHA-256s (`bezoar index sign`); may be repeated.",
    ),
    click.option(
        "--index-signature",
        type=PATH,
        metavar="FILE",
        help="Where that signature is; by default at SOURCE.sig.",
    ),
    click.option(
        "--save-additional-columns",
        type=_words,
        metavar="A,B",
        help="Columns of the list that are carried along.",
    ),
)
_OUTPUT = (
    click.option(
        "--output-format",
        type=click.Choice(["webdataset", "parquet", "files", "dummy", "tfrecord"]),
        default="webdataset",
        show_default=True,
        help="dummy writes nothing; tfrecord is not offered.",
    ),
    click.option(
        "--number-sample-per-shard",
        type=COUNT,
        default=10_000,
        show_default=True,
        help="Rows of the list in one shard.",
    ),
    click.option(
        "--retry-failed",
        type=click.Choice(["passing", "all"]),
        is_flag=False,
        flag_value="passing",
        help="Fetch rows of finished shards again that failed for a reason that may pass, or all that are not kept.",
    ),
    click.option(
        "--incremental-mode",
        type=click.Choice(["incremental", "overwrite", "extend"]),
        default="incremental",
        help="Only incremental is offered: an output is always gone on with.",
    ),
)
_NETWORK = (
    click.option(
        "--distributor",
        type=click.Choice(["multiprocessing", "ray", "pyspark"]),
        default="multiprocessing",
        show_default=True,
        help="ray: over the cluster that RAY_ADDRESS names, all of whose machines must see the output; pyspark is not offered.",
    ),
    click.option(
        "--processes-count",
        type=COUNT,
        help="Processes that fetch; by default one for two cores, or one a core where images are encoded anew.",
    ),
    click.option(
        "--thread-count", type=COUNT, default=256, show_default=True, help="Connections of each process."
    ),
    click.option("--per-host", type=COUNT, default=16, show_default=True, help="Of these, to one host."),
    click.option(
        "--timeout",
        metavar="SECONDS",
        type=_number,
        default=10.0,
        show_default=True,
        help="Seconds to connect, and of silence.",
    ),
    click.option(
        "--deadline",
        metavar="SECONDS",
        type=_number,
        default=60.0,
        show_default=True,
        help="Seconds for one attempt, all in all.",
    ),
    click.option(
        "--retries",
        type=click.IntRange(min=0, max=20),
        default=1,
        show_default=True,
        help="Further attempts after failures that may pass.",
    ),
    click.option(
        "--max-bytes",
        type=COUNT,
        default=_MEGABYTES << 20,
        show_default=True,
        help="Bytes of one body as it is sent; content codings are never undone.",
    ),
    click.option(
        "--max-redirects",
        type=click.IntRange(min=0, max=50),
        default=5,
        show_default=True,
        help="Followed in one attempt.",
    ),
    click.option(
        "--allow-host",
        multiple=True,
        metavar="HOST",
        help="Host, address or network that may be reached although it is not public; may be repeated.",
    ),
    click.option("--proxy", metavar="URL", help="Proxy for all requests."),
    click.option(
        "--ca-file",
        type=PATH,
        metavar="FILE",
        help="Certificates that are trusted instead of the system's (PEM).",
    ),
    click.option(
        "--user-agent-token",
        type=_word_or_none,
        metavar="TOKEN",
        help="Named as the fetching agent, and heeded in X-Robots-Tag.",
    ),
    click.option(
        "--disallowed-header-directives",
        type=_words,
        default=_OPT_OUTS,
        show_default=",".join(_OPT_OUTS),
        metavar="A,B",
        help="X-Robots-Tag directives that keep a record out; [] looks at none.",
    ),
)
_IMAGES = (
    click.option(
        "--image-size",
        type=COUNT,
        metavar="PIXELS",
        help="Re-encode to this size; by default the bytes are kept as they came.",
    ),
    click.option(
        "--resize-mode",
        type=click.Choice(["no", "border", "keep_ratio", "keep_ratio_largest", "center_crop"]),
        help="How to resize; by default border with --image-size, else no.",
    ),
    _yes("--resize-only-if-bigger", "Leave smaller images as they are."),
    _yes("--skip-reencode", "Keep the bytes of images that need no resizing."),
    _yes("--disable-all-reencoding", "Keep all bytes as they came, whatever the size."),
    click.option(
        "--encode-format",
        type=click.Choice(["jpg", "png", "webp"]),
        help="Format of images that are re-encoded; by default jpg.",
    ),
    click.option(
        "--encode-quality",
        type=click.IntRange(0, 100),
        help="Their quality; by default 95. Of png the compression, 0 to 9; by default 9.",
    ),
    click.option(
        "--min-image-size",
        type=click.IntRange(min=0),
        default=0,
        help="Reject images whose shorter side has fewer pixels.",
    ),
    click.option(
        "--max-image-area",
        metavar="PIXELS",
        type=_number,
        default=float("inf"),
        help="Reject images with more pixels.",
    ),
    click.option(
        "--max-aspect-ratio",
        metavar="RATIO",
        type=_number,
        default=float("inf"),
        help="Reject images whose longer side is more than so many times the shorter.",
    ),
)


class _Foreign(NamedTuple):
    """An option of img2dataset that has one meaning here: the values that ask for just that."""

    name: str
    accepted: tuple[str, ...] | None  # None: all of them, for it changes nothing
    otherwise: str = ""


_OTHERS = (
    _Foreign("--compute-hash", ("sha256", "None"), "sha256 is what is computed, always"),
    _Foreign("--enable-wandb", ("false",), "nothing is reported to anybody"),
    _Foreign("--wandb-project", None),
    _Foreign("--oom-shard-count", ("5",), "shards have numbers of five digits"),
    _Foreign("--subjob-size", None),
    _Foreign("--max-shard-retry", None),
    _Foreign(
        "--extract-exif",
        ("false",),
        "EXIF data are made no column; they stay in files that are not encoded anew",
    ),
    _Foreign(
        "--bbox-col",
        ("None",),
        "boxes are not blurred; carry the column along with --save-additional-columns",
    ),
    _Foreign("--upscale-interpolation", ("lanczos",), "images are made larger with lanczos"),
    _Foreign("--downscale-interpolation", ("area",), "images are made smaller by area"),
)
_FOREIGN = tuple(
    click.option(each.name, is_flag=False, flag_value="true", hidden=True, metavar="VALUE")
    for each in _OTHERS
)


def check_foreign(given: Mapping[str, Any]) -> None:
    """UsageError for a choice of img2dataset's that is not offered."""
    for each in _OTHERS:
        value = given[each.name.removeprefix("--").replace("-", "_")]
        if value is not None and each.accepted is not None:
            accepted = {name.lower() for name in each.accepted}
            if value.strip("'\"").lower() not in accepted:
                raise UsageError(f"{each.name} {value}: {each.otherwise}; leave the option out")
    if given["output_format"] == "tfrecord":
        raise UsageError("--output-format tfrecord: is not offered; choose webdataset, parquet or files")
    if given["incremental_mode"] != "incremental":
        raise UsageError(
            f"--incremental-mode {given['incremental_mode']}: an output is only ever gone on with; choose another folder, or "
            "remove OUT and OUT.fetch first"
        )


def open_list(path: str | Path, given: Mapping[str, Any]) -> UrlList:
    """The list that the options mean."""
    from bezoar.acquire import Columns, UrlList

    column, kind = None, "sha256"
    if given["verify_hash"]:
        if len(given["verify_hash"]) != 2:
            raise UsageError("--verify-hash: give the column and its kind, such as sha256,sha256")
        column, kind = given["verify_hash"]
    columns = Columns(
        url=given["url_col"],
        caption=given["caption_col"],
        hash=column,
        hash_kind=kind,
        extra=given["save_additional_columns"] or (),
    )
    return UrlList.open(path, columns, given["input_format"])


def fetch_options(given: Mapping[str, Any]) -> FetchOptions:
    """How to fetch."""
    from bezoar.acquire import FetchOptions, Limits, Policy, Retry

    return FetchOptions(
        output_format=given["output_format"],
        per_shard=given["number_sample_per_shard"],
        distributor=given["distributor"],
        processes=given["processes_count"],
        limits=Limits(
            max_bytes=given["max_bytes"],
            timeout_s=given["timeout"],
            deadline_s=given["deadline"],
            retries=given["retries"],
            max_redirects=given["max_redirects"],
            connections=given["thread_count"],
            per_host=min(given["per_host"], given["thread_count"]),
        ),
        policy=Policy(
            allowed=given["allow_host"],
            opt_outs=given["disallowed_header_directives"],
            token=given["user_agent_token"],
        ),
        **_images(given),
        require_hash=given["require_hash"],
        proxy=given["proxy"],
        ca_file=given["ca_file"],
        retry=Retry(given["retry_failed"] or "nothing"),
    )


def _images(given: Mapping[str, Any]) -> dict[str, Any]:
    """How images are kept: as they came, unless something asks for another size or format."""
    from bezoar.acquire import Reencode

    asked = ("image_size", "resize_mode", "encode_format", "encode_quality")
    form = given["encode_format"] or "jpg"
    images = Reencode(
        size=given["image_size"] or 256,
        resize_mode=given["resize_mode"] or ("border" if given["image_size"] else "no"),
        only_if_bigger=given["resize_only_if_bigger"],
        encode_format=form,
        quality=given["encode_quality"]
        if given["encode_quality"] is not None
        else 9
        if form == "png"
        else 95,
        skip_reencode=given["skip_reencode"],
        min_size=given["min_image_size"],
        max_area=given["max_image_area"],
        max_aspect_ratio=given["max_aspect_ratio"],
    )
    wanted = any(given[name] is not None for name in asked)
    return {"images": images, "reencode": wanted and not given["disable_all_reencoding"]}
