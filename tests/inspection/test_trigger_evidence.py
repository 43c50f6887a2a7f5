from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from bezoar.inspect.evidence import LEEWAY, Evidence, Rival, against, random_like, resized, tried
from bezoar.inspect.trigger import Kind, Trigger

SIDE, N_LABELS = 12, 4


class Watchful(torch.nn.Module):
    """Answers 3 where the corner is bright, 2 where the right half is, else the label that a pixel codes."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        logits = torch.nn.functional.one_hot(
            (images[:, 0, 1, 0] * 10).round().long() % N_LABELS, N_LABELS
        ).float()
        logits[:, 3] += 5 * (images[:, 0, -2:, -2:].mean((1, 2)) > 0.9)
        logits[:, 2] += 3 * (images[:, 0, :, 6:].mean((1, 2)) > 0.9)
        return logits


def images(n: int = 60) -> tuple[torch.Tensor, np.ndarray]:
    """Labels 0 to 2."""
    labels = np.arange(n) % 3
    pixels = torch.rand((n, 1, SIDE, SIDE), generator=torch.Generator().manual_seed(0)) * 0.5
    pixels[:, 0, 1, 0] = torch.from_numpy(labels) / 10
    return pixels, labels


def patch(height: int, width: int) -> Trigger:
    """White, in the lower right corner."""
    mask = np.zeros((SIDE, SIDE), np.float32)
    mask[SIDE - height :, SIDE - width :] = 1
    return Trigger("patch", np.ones((1, SIDE, SIDE), np.float32), mask)


def test_a_trigger_is_held_against_random_patterns_of_its_size() -> None:
    pixels, _ = images()
    evidence = tried(Watchful(), patch(2, 2), pixels, np.full(60, 3), np.random.default_rng(0))
    assert (evidence.success, evidence.control, evidence.tested) == (1.0, 0.0, 60)
    assert evidence.p_value < 1e-9
    assert evidence.works
    assert not evidence.confirmed  # nothing is known of rivals yet
    unmoved = tried(Watchful(), patch(1, 1), pixels, np.full(60, 3), np.random.default_rng(0))
    assert (unmoved.success, unmoved.p_value, unmoved.works) == (0.0, 1.0, False)


def test_what_random_patterns_do_too_is_no_trigger() -> None:
    class Anything(torch.nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return torch.nn.functional.one_hot((images.amax((1, 2, 3)) > 0.6).long() * 3, N_LABELS).float()

    pixels, _ = images()
    evidence = tried(Anything(), patch(3, 3), pixels, np.full(60, 3), np.random.default_rng(0))
    assert evidence.success == 1.0
    assert evidence.control > 0.9
    assert not evidence.works


def test_rivals_are_cut_to_about_the_size_of_the_suspect() -> None:
    pixels, labels = images()
    evidence = tried(Watchful(), patch(2, 2), pixels, np.full(60, 3), np.random.default_rng(0))
    large = against(evidence, patch(SIDE, 6), 2, Watchful(), pixels[labels != 2], np.full(40, 2))
    assert large.rivals == (Rival(2, 0.5, 0.0, 40),)  # it flips all of them before it is cut
    assert large.confirmed
    assert large.ahead == 1.0


def test_a_trigger_that_leads_elsewhere_at_the_same_size_confirms_nothing() -> None:
    pixels, _ = images()
    evidence = tried(Watchful(), patch(SIDE, 6), pixels, np.full(60, 3), np.random.default_rng(0))
    other = against(evidence, patch(2, 2), 3, Watchful(), pixels, np.full(60, 3))
    assert other.works
    assert other.ahead == 0.0
    assert not other.confirmed


def test_a_trigger_not_far_above_random_patterns_is_none() -> None:
    assert not Evidence(patch(2, 2), 0.76, 0.59, 435, 1e-12).works


def test_a_few_images_do_not_set_a_trigger_apart_from_a_rival() -> None:
    evidence = Evidence(patch(2, 2), 0.9, 0.0, 20, 1e-9, (Rival(1, 0.1, 0.45, 20),))
    assert evidence.works
    assert evidence.ahead > 0.3
    assert not evidence.confirmed
    assert replace(evidence, tested=200, rivals=(Rival(1, 0.1, 0.45, 200),)).confirmed


@pytest.mark.parametrize("kind", ["patch", "shift", "warp"])
def test_random_patterns_have_the_size_of_their_model(kind: Kind) -> None:
    rng = np.random.default_rng(1)
    mask = np.ones((SIDE, SIDE), np.float32)
    if kind == "patch":
        mask[3:, :] = 0
    pattern = rng.normal(0, 0.1, (2 if kind == "warp" else 3, SIDE, SIDE)).astype(np.float32)
    trigger = Trigger(kind, pattern, mask)
    drawn = random_like(trigger, rng)
    assert drawn.size == pytest.approx(trigger.size, rel=1e-5)
    assert drawn.pattern.shape == trigger.pattern.shape
    assert not np.allclose(drawn.pattern, trigger.pattern, atol=0.01)


@pytest.mark.parametrize("kind", ["shift", "warp"])
def test_random_patterns_are_as_smooth_as_their_model(kind: Kind) -> None:
    y, x = np.mgrid[:SIDE, :SIDE] / SIDE
    wave = np.sin(2 * np.pi * (x + y)).astype(np.float32)
    trigger = Trigger(kind, np.stack([wave, wave]), np.ones((SIDE, SIDE), np.float32))
    drawn = random_like(trigger, np.random.default_rng(0))
    assert np.abs(np.diff(drawn.pattern, axis=2)).max() < 0.8
    assert np.abs(drawn.pattern - trigger.pattern).max() > 0.2


def test_half_of_the_random_waves_lie_on_their_side() -> None:
    wave = np.cos(2 * np.pi * np.arange(SIDE) * 3 / SIDE).astype(np.float32)
    trigger = Trigger(
        "shift", np.tile(wave, (3, SIDE, 1)).astype(np.float32), np.ones((SIDE, SIDE), np.float32)
    )
    drawn = [random_like(trigger, np.random.default_rng(seed)).pattern for seed in range(20)]
    lying = [np.ptp(pattern, axis=1).max() > 0.1 for pattern in drawn]
    assert 5 < sum(lying) < 15
    assert all(
        np.ptp(pattern, axis=1 + down).max() < 1e-5 for pattern, down in zip(drawn, lying, strict=True)
    )


def test_cutting_keeps_the_densest_part_of_a_patch() -> None:
    mask = np.zeros((SIDE, SIDE), np.float32)
    mask[:2, :2], mask[6:, 6:] = 0.9, 0.3
    cut = resized(Trigger("patch", np.zeros((1, SIDE, SIDE), np.float32), mask), LEEWAY * 3.0 / SIDE**2)
    assert cut.mask[:2, :2] == pytest.approx(np.full((2, 2), 0.9))
    assert cut.size <= LEEWAY * 3.0 / SIDE**2
