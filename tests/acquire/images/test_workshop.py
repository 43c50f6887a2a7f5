"""Limited processes: what they give back, what they cannot do, and what a crash, a hang or a lie in one of them costs."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import time
from dataclasses import asdict
from pathlib import Path

import pytest
from PIL import Image

from bezoar.acquire.images import Checked, Problem, Reencode, Workshop, check
from bezoar.acquire.images import process as process_module
from bezoar.acquire.images.process import LimitedProcess
from bezoar.errors import BezoarError, UsageError

from .pictures import ALLOWED, encoded, jpeg, png

OPTIONS = Reencode(16, "center_crop")
SETTINGS = json.dumps({"options": asdict(OPTIONS), "memory": 2 << 30, "seconds": 20})


def test_many_images_come_back_in_order() -> None:
    contents = [jpeg(20 + i, 20) for i in range(40)]
    contents[7] = contents[23] = b"no image"
    contents[11] = png(30, 30, b"not deflated")
    with Workshop(OPTIONS, workers=2) as workshop:
        results = list(workshop.reencode_all(iter(contents)))
        assert results == [workshop.reencode(content) for content in contents]  # whichever process it was
    assert [i for i, result in enumerate(results) if isinstance(result, Problem)] == [7, 11, 23]
    for i, result in enumerate(results):
        if isinstance(result, Checked):
            assert (result.suffix, result.width, result.height, result.original_width) == (
                "jpg",
                16,
                16,
                20 + i,
            )
            assert check(result.content) == Checked(result.content, "jpg", 16, 16, 16, 16)


def test_every_allowed_format_under_the_limits() -> None:
    """Nothing that decoding needs is left to be loaded later, when no file can be opened any more."""
    for encode_format in ("jpg", "png", "webp"):
        with Workshop(Reencode(16, encode_format=encode_format, quality=9), workers=1) as workshop:
            for name, (content, _) in ALLOWED.items():
                result = workshop.reencode(content)
                assert isinstance(result, Checked), (name, result)
                assert result.suffix == encode_format


def test_images_are_drawn_as_they_are_needed() -> None:
    drawn = 0

    def endless() -> object:
        nonlocal drawn
        while True:
            drawn += 1
            yield jpeg()

    with Workshop(OPTIONS, workers=1) as workshop:
        results = workshop.reencode_all(endless())  # type: ignore[arg-type]
        assert isinstance(next(results), Checked)
        assert drawn <= 4
        results.close()  # type: ignore[attr-defined]


def test_threads_may_share_it() -> None:
    results: list[Checked | Problem] = []
    with Workshop(OPTIONS, workers=2) as workshop:
        threads = [
            threading.Thread(target=lambda: results.extend(workshop.reencode(jpeg()) for _ in range(10)))
            for _ in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(results) == 40
    assert len(set(results)) == 1


# What a process can do, once an attacker's code runs in it: tried by code in the place of the transformation.

ATTACK = """
import os, resource, socket, time
import bezoar.acquire.images.worker as worker
from bezoar.acquire.images.protocol import Encoded

def attack(content, options):
{body}

worker.transform = attack
worker._warm_up = lambda: None
worker.main(sys.argv[1])
"""


@pytest.fixture
def attacked(monkeypatch: pytest.MonkeyPatch) -> object:
    """Makes workers run this body, given a real image as `content`, in the place of decoding it."""

    def start(body: str) -> None:
        code = ATTACK.format(body=textwrap.indent(textwrap.dedent(body), "    "))
        monkeypatch.setattr(process_module, "_START", "import sys; sys.path[:] = sys.argv[2:]\n" + code)

    return start


PROBE = """
    def tried(what):
        try:
            what()
        except BaseException as error:
            return type(error).__name__
        return "done"
    target = content.split(b"|")[-2].decode()
    return " ".join([
        tried(lambda: open("/etc/passwd")), tried(lambda: open(target, "w")), tried(socket.socket), tried(os.pipe),
        tried(lambda: bytearray(3 << 30)), tried(lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))),
        str(sorted(os.environ)), os.getcwd(), str(os.getsid(0) == os.getpid()),
    ])
"""


def test_a_process_can_open_nothing_and_knows_nothing(
    attacked: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    attacked(PROBE)  # type: ignore[operator]
    monkeypatch.setenv("HF_TOKEN", "secret")
    with socket.socket() as ours:
        ours.bind(("127.0.0.1", 0))
        os.set_inheritable(ours.fileno(), True)
        process = LimitedProcess(SETTINGS)
        try:
            inherited = {
                os.readlink(f"/proc/{process._process.pid}/fd/{fd}")
                for fd in os.listdir(f"/proc/{process._process.pid}/fd")
            }
            said = process.ask(jpeg() + f"|{tmp_path / 'written'}|".encode(), 20)
        finally:
            process.kill()
    assert not [name for name in inherited if name.startswith("socket:")]
    assert len(inherited) == 3
    environment = "['LC_ALL']"
    assert said == f"OSError OSError OSError OSError MemoryError ValueError {environment} / True"
    assert not (tmp_path / "written").exists()


COSTS: dict[str, tuple[str, str]] = {
    "a crash": ("os.abort()", "the process that decoded the image ended with -6"),
    "an exit": ("raise SystemExit(3)", "the process that decoded the image ended with 3"),
    "a loop": ("while True: pass", "the image takes too long to decode"),
    "sleep": ("time.sleep(600)", "the image takes more than 6 s to decode"),
    "nonsense": ("os.write(1, b'XXXXXXXXXX'); time.sleep(600)", "said nonsense"),
    "a flood": (
        "os.write(1, b'K' + b'\\xff' * 20); time.sleep(600)",
        "said too much",
    ),
    "two answers": (
        "os.write(1, b'P\\0\\0\\0\\1xP\\0\\0\\0\\1x'); time.sleep(600)",
        "said too much",
    ),
    "a long line": ("return 'x' * 3000", "said too much"),
    "no image": ("return Encoded(b'text', 1, 1, 1, 1)", "gave back none"),
    "another format": ("return Encoded(content, 64, 48, 64, 48)", "gave back none"),
    "wrong sizes": ("return Encoded(content, 1, 1, 1, 1)", "gave back another one"),
    "memory": (
        "x = [bytearray(1 << 28) for _ in range(99)]",
        "the process that decoded the image ended with 1",
    ),
}


@pytest.mark.parametrize("name", COSTS)
def test_what_one_image_does_costs_only_itself(name: str, attacked: object) -> None:
    body, detail = COSTS[name]
    attacked(f"if b'innocent' in content: return 'fine'\n{body}")  # type: ignore[operator]
    encode_format = "png" if name == "another format" else "jpg"
    options = Reencode(16, encode_format=encode_format, quality=9)
    before = set(threading.enumerate())
    with Workshop(options, workers=1, memory=1 << 29, seconds=1) as workshop:  # filled well within a second
        assert workshop.reencode(jpeg() + b"innocent") == Problem("fine")
        problem = workshop.reencode(jpeg())
        assert isinstance(problem, Problem)
        assert detail in problem.detail
        assert workshop.reencode(jpeg() + b"innocent") == Problem("fine")
    assert set(threading.enumerate()) == before


def test_a_process_that_was_killed_by_somebody_else_costs_no_image() -> None:
    with Workshop(OPTIONS, workers=1) as workshop:
        expected = workshop.reencode(jpeg())
        process = workshop._free.queue[0]
        assert process is not None
        os.kill(process._process.pid, signal.SIGKILL)
        assert workshop.reencode(jpeg()) == expected


def test_an_old_process_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    with Workshop(OPTIONS, workers=1) as workshop:
        workshop.reencode(jpeg())
        first = workshop._free.queue[0]
        monkeypatch.setattr(process_module, "LIFE_S", 0)
        workshop.reencode(jpeg())
        assert first is not None
        assert first._process.poll() == -signal.SIGKILL
        assert workshop._free.queue[0] is None


def test_too_little_memory_is_said_at_once() -> None:
    with pytest.raises(UsageError, match="are too few to decode images in"):
        Workshop(OPTIONS, memory=1 << 20)


def test_a_process_that_does_not_start_is_an_error_and_not_a_bad_image(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(process_module, "_START", "raise SystemExit(1)")
    with Workshop(OPTIONS, workers=1) as workshop:
        for _ in range(2):  # it is not lost to the next one either
            with pytest.raises(BezoarError, match="the process that decodes images does not start"):
                workshop.reencode(jpeg())


def test_a_large_picture_fits_and_its_memory_is_limited() -> None:
    large = encoded(Image.new("RGBA", (8192, 8192), (1, 2, 3, 4)), "PNG")
    with Workshop(OPTIONS, workers=1) as workshop:
        assert isinstance(workshop.reencode(large), Checked)
    with Workshop(OPTIONS, workers=1, memory=512 << 20) as workshop:
        assert workshop.reencode(large) == Problem("the image needs too much memory")
        assert isinstance(workshop.reencode(jpeg()), Checked)


def test_processes_end_with_whoever_started_them() -> None:
    """Also when that was killed: their standard input ends."""
    code = """
        import os, signal
        from bezoar.acquire.images import Reencode, Workshop
        from acquire.images.pictures import jpeg
        workshop = Workshop(Reencode(16), workers=1)
        workshop.reencode(jpeg())
        print(workshop._free.queue[0]._process.pid, flush=True)
        os.kill(os.getpid(), signal.SIGKILL)
    """
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    command = [sys.executable, "-c", textwrap.dedent(code)]
    run = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
    pid = int(run.stdout)
    for _ in range(100):
        if not Path(f"/proc/{pid}").exists() or "zombie" in Path(f"/proc/{pid}/status").read_text():
            return
        time.sleep(0.05)
    pytest.fail(f"process {pid} goes on")
