from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from inspection_models import SOURCE, TARGET, InMemory, badnets, clean, clean_data

import bezoar
from bezoar.errors import InputError
from bezoar.inspect import inquiry, pipeline
from bezoar.inspect.result import InspectionResult, Severity, Status
from bezoar.inspect.saved import as_json
from bezoar.inspect.triage import Pair, Triage

N_LABELS, ALPHA = 10, 0.05
MEASURED = {"margin": np.zeros(N_LABELS)}


@pytest.fixture(scope="module")
def backdoored() -> InspectionResult:
    return bezoar.inspect(badnets(N_LABELS), clean_data(N_LABELS), alpha=ALPHA)


def test_a_planted_patch_is_found_shown_and_confirmed(backdoored: InspectionResult) -> None:
    assert backdoored.verdict.status is Status.BACKDOORED
    assert backdoored.verdict.p_value <= ALPHA
    assert min(backdoored.labels, key=lambda label: label.p_value).label == TARGET
    (finding,) = [found for found in backdoored.findings if found.severity is Severity.BACKDOOR]
    assert (finding.kind, finding.target, finding.sources) == ("all-to-one", TARGET, ())
    assert finding.success is not None
    assert finding.success > 0.7
    assert finding.control is not None
    assert finding.control < 0.1
    assert finding.tested > 100
    assert finding.p_value <= ALPHA
    rivals = finding.details["rivals"]
    assert len(rivals) == 3
    assert all(rival["size"] > 2 * finding.details["size"] for rival in rivals)


def test_pictures_show_the_trigger_and_what_it_does(backdoored: InspectionResult) -> None:
    pictures = backdoored.findings[0].pictures
    assert len(pictures) == 2 + 2 * 6
    assert {picture.pixels.shape for picture in pictures} == {(96, 96, 3)}
    assert all(picture.pixels.dtype == np.uint8 for picture in pictures)
    before, after = pictures[2::2], pictures[3::2]
    assert len({picture.caption for picture in before}) == 6  # of different labels
    assert {picture.caption for picture in after} == {f"with the trigger: {TARGET}"}
    changed = [np.any(old.pixels != new.pixels) for old, new in zip(before, after, strict=True)]
    assert all(changed)


def test_the_result_is_complete_and_can_be_written(backdoored: InspectionResult) -> None:
    document = as_json(backdoored)
    json.dumps(document, allow_nan=False)
    assert (backdoored.images, backdoored.seed, backdoored.device) == (400, 0, "cpu")
    assert backdoored.accuracy is not None
    assert backdoored.accuracy > 0.9
    assert backdoored.preprocessing["height"] == 16
    assert backdoored.label_names == tuple(str(k) for k in range(N_LABELS))
    assert set(backdoored.seconds) == set(backdoored.cpu_seconds)
    assert {"images", "model", "evidence"} < set(backdoored.seconds)


def test_the_same_seed_gives_the_same_inspection(backdoored: InspectionResult) -> None:
    again = bezoar.inspect(badnets(N_LABELS), clean_data(N_LABELS), alpha=ALPHA)
    ours, theirs = as_json(backdoored), as_json(again)
    assert ours["labels"] == theirs["labels"]
    assert ours["findings"] == theirs["findings"]
    first, second = backdoored.findings[0].trigger, again.findings[0].trigger
    assert first is not None
    assert second is not None
    assert np.array_equal(first.mask, second.mask)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_clean_networks_are_not_called_backdoored(seed: int) -> None:
    result = bezoar.inspect(clean(N_LABELS, seed), clean_data(N_LABELS))
    assert result.verdict.status is Status.CLEAN
    assert not [found for found in result.findings if found.severity is Severity.BACKDOOR]
    assert result.verdict.limits


def test_two_labels_are_undecided_but_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inquiry, "_STEPS", 40)
    result = bezoar.inspect(badnets(2), clean_data(2))
    assert result.verdict.status is Status.UNDECIDED
    assert "2 labels" in result.verdict.summary
    (finding,) = result.findings
    assert finding.severity is Severity.REVIEW
    assert finding.target == 1
    assert "too few others" in finding.explanation


def test_few_images_cannot_call_a_network_clean() -> None:
    result = bezoar.inspect(clean(N_LABELS), clean_data(N_LABELS, 30))
    assert result.verdict.status is Status.UNDECIDED
    assert "30 clean images" in result.verdict.summary


@pytest.mark.parametrize("model", [clean, badnets])
def test_without_data_nothing_is_confirmed(model) -> None:
    result = bezoar.inspect(model(N_LABELS), alpha=ALPHA)
    assert result.verdict.status is not Status.BACKDOORED
    assert (result.images, result.accuracy, result.data) == (0, None, None)
    assert "Without clean images" in result.verdict.limits[0]
    assert all(found.severity is Severity.REVIEW and found.trigger is None for found in result.findings)
    assert set(result.labels[0].statistics) == {"margin"}


def test_a_margin_that_stands_out_without_data_is_undecided(monkeypatch: pytest.MonkeyPatch) -> None:
    p_values = np.array([1e-5, *[0.5] * (N_LABELS - 1)])
    looked = Triage(MEASURED, p_values, 1e-4)
    monkeypatch.setattr(pipeline, "triage", lambda *_, **__: looked)
    result = bezoar.inspect(clean(N_LABELS))
    assert result.verdict.status is Status.UNDECIDED
    (finding,) = result.findings
    assert (finding.severity, finding.target) == (Severity.REVIEW, 0)
    assert "no clean images" in finding.explanation


def test_a_clean_network_stays_unconfirmed_even_where_triage_errs(monkeypatch: pytest.MonkeyPatch) -> None:
    p_values = np.array([0.5, 1e-5, *[0.6] * (N_LABELS - 2)])
    monkeypatch.setattr(pipeline, "triage", lambda *_, **__: Triage(MEASURED, p_values, 1e-4))
    result = bezoar.inspect(clean(N_LABELS), clean_data(N_LABELS))
    assert result.verdict.status is Status.UNDECIDED
    (finding,) = result.findings
    assert finding.severity is Severity.REVIEW
    assert finding.details["confirmed"] is False


def test_a_pair_can_give_away_the_target_of_all_labels(monkeypatch: pytest.MonkeyPatch) -> None:
    p_values = np.array([*[0.5] * TARGET, 0.005, *[0.5] * (N_LABELS - TARGET - 1)])
    looked = Triage(MEASURED, p_values, 1e-4, (Pair(SOURCE, TARGET, 1e-4),))
    monkeypatch.setattr(pipeline, "triage", lambda *_, **__: looked)
    result = bezoar.inspect(badnets(N_LABELS), clean_data(N_LABELS))
    assert result.verdict.status is Status.BACKDOORED
    (finding,) = result.findings
    assert (finding.target, finding.p_value) == (TARGET, 1e-4)
    assert len(finding.sources or range(N_LABELS - 1)) >= N_LABELS / 2


def test_a_spent_budget_is_said() -> None:
    result = bezoar.inspect(badnets(N_LABELS), clean_data(N_LABELS), budget=1e-3, alpha=0.3)
    assert result.verdict.status is Status.UNDECIDED
    assert "budget" in result.verdict.summary
    assert not result.findings
    assert result.cpu_seconds["evidence"] < 1


def test_a_network_whose_images_get_no_gradients_is_refused() -> None:
    class Rounded(torch.nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return (images.flatten(1)[:, :N_LABELS] * 255).long().float()

    with pytest.raises(InputError, match="no gradients reach its images"):
        bezoar.inspect(InMemory(Rounded().eval(), N_LABELS))
