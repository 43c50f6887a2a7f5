from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from bezoar.errors import InputError, UsageError
from bezoar.registry import Registry

Install = Callable[..., Path]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """Installs a distribution with a module and entry points, of the group "bezoar.toys" if no other is given; where it lies."""

    def installed(distribution: str, code: str, *, group: str = "bezoar.toys", **points: str) -> Path:
        folder = tmp_path / distribution
        info = folder / f"{distribution}-1.0.dist-info"
        info.mkdir(parents=True)
        (folder / f"{distribution}_module.py").write_text(code)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.0\n")
        lines = [f"{name} = {distribution}_module:{what}" for name, what in points.items()]
        (info / "entry_points.txt").write_text(f"[{group}]\n" + "\n".join(lines) + "\n")
        monkeypatch.syspath_prepend(folder)
        return folder

    return installed


@pytest.fixture
def toys() -> Registry[object]:
    registry: Registry[object] = Registry("toy", "bezoar.toys")
    registry.register("own", 1)
    return registry


def test_a_duplicate_is_refused(toys: Registry[object]) -> None:
    with pytest.raises(ValueError, match="'own' is registered already"):
        toys.register("own", 2)
    assert toys["own"] == 1


def test_plugins_come_after_the_own_ones_and_are_imported_when_asked_for(
    install: Install, toys: Registry[object]
) -> None:
    install("puppets", "BALL, KITE = 'ball', 'kite'", kite="KITE", ball="BALL")
    assert list(toys) == ["own", "ball", "kite"]
    assert "ball" in toys
    assert "doll" not in toys
    assert "puppets_module" not in sys.modules
    assert toys["ball"] == "ball"
    assert dict(toys.items()) == {"own": 1, "ball": "ball", "kite": "kite"}
    with pytest.raises(UsageError, match="unknown toy 'doll'; known: own, ball, kite"):
        toys["doll"]


def test_without_a_group_nothing_is_looked_up(install: Install) -> None:
    install("strangers", "X = 1", stranger="X")
    assert list(Registry[int]("toy")) == []


@pytest.mark.parametrize(
    ("code", "reason"),
    [("raise RuntimeError('two\\nlines')", "RuntimeError: two lines"), ("Y = 1", "AttributeError")],
)
def test_a_broken_plugin_is_named_with_its_distribution(
    install: Install, toys: Registry[object], code: str, reason: str
) -> None:
    install("ruins", code, broken="X")
    install("sound", "Z = 3", sound="Z")
    with pytest.raises(InputError, match=f"toy 'broken' of the distribution 'ruins' .*{reason}") as caught:
        toys["broken"]
    assert "\n" not in str(caught.value)
    with pytest.warns(UserWarning, match="distribution 'ruins' cannot be loaded"):
        assert dict(toys.items()) == {"own": 1, "sound": 3}
    sys.modules.pop("ruins_module", None)


def test_two_of_one_name_are_refused(install: Install, toys: Registry[object]) -> None:
    install("first", "X = 1", ball="X")
    install("second", "X = 2", ball="X")
    with pytest.raises(InputError, match=r"'ball' of the distribution '(first|second)' has the name of one"):
        list(toys)


def test_a_plugin_cannot_take_the_place_of_an_own_one(install: Install, toys: Registry[object]) -> None:
    install("impostor", "X = 2", own="X")
    assert toys["own"] == 1
    with pytest.raises(InputError, match="'impostor' has the name of one of bezoar"):
        list(toys)


@pytest.mark.parametrize(
    ("group", "registry"),
    [
        ("bezoar.attacks", "bezoar.attacks.ATTACKS"),
        ("bezoar.detectors", "bezoar.scan.detectors.DETECTORS"),
        ("bezoar.encoders", "bezoar.embed.resolve.ENCODERS"),
    ],
)
def test_what_other_distributions_bring_is_known(install: Install, group: str, registry: str) -> None:
    folder = install("guest", "class Mine: pass", group=group, mine="Mine")
    module, name = registry.rsplit(".", 1)
    program = f"from {module} import {name} as known; print(list(known)[-1], known['mine'].__module__)"
    paths = os.pathsep.join([str(folder), *filter(None, [os.environ.get("PYTHONPATH")])])
    command = [sys.executable, "-c", program]
    said = subprocess.run(
        command, capture_output=True, text=True, check=True, env={**os.environ, "PYTHONPATH": paths}
    )
    assert said.stdout.split() == ["mine", "guest_module"]
