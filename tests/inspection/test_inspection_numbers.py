from __future__ import annotations

import pytest
import torch
from inspection_models import InMemory, clean

import bezoar
from bezoar.errors import InputError
from bezoar.models.threads import threads_for


class NanWhereBright(torch.nn.Module):
    """A network whose answers are no numbers once a pixel is brighter than 0.9."""

    def __init__(self, network: torch.nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        bright = images.amax((1, 2, 3)) > 0.9
        return self.network(images).masked_fill(bright[:, None], torch.nan)


def test_a_model_that_answers_with_no_number_is_no_clean_model() -> None:
    whole = clean(10)
    with pytest.raises(InputError, match="are no numbers"):
        bezoar.inspect(InMemory(NanWhereBright(whole.network()), 10))


def test_small_images_take_one_thread_and_large_ones_all() -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        with threads_for(64, 64):
            assert torch.get_num_threads() == 1
        with threads_for(65, 64):
            assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
