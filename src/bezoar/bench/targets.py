"""What the scan is meant to reach, set before it was measured."""

from __future__ import annotations

from dataclasses import dataclass

from bezoar.report.text import percent

FALSE_ALARMS, FLAGGED_CLEAN = 0.05, 0.005  # at most: of clean datasets, of their records
POWER = 0.9  # at least: of fresh trials at the rate that a scan states
LEAST_SEEDS, LEAST_CLEAN_RUNS, LEAST_POWER_TRIALS = 3, 20, 10  # or else nothing is "met"


@dataclass(frozen=True, slots=True)
class Target:
    """At least the share `tpr` of the poison found, in each pack, over the trials in which the attack took.

    Attributes:
        title: for a table.
        settings: attack settings that it speaks of, each on its own.
        tpr: in [0, 1].
        rate: None for all rates.
        or_more: higher rates too.

    """

    title: str
    settings: tuple[str, ...]
    tpr: float
    rate: float | None = None
    or_more: bool = False

    def speaks_of(self, setting: str, rate: float) -> bool:
        """Whether cells of this setting and rate count."""
        if setting not in self.settings:
            return False
        return self.rate is None or rate == self.rate or (self.or_more and rate > self.rate)

    @property
    def names(self) -> str:
        """The rates in words."""
        return "all rates" if self.rate is None else percent(self.rate) + (" or more" if self.or_more else "")


TARGETS = (
    Target("BadNets", ("badnets", "badnets-random", "badnets-one-source"), 0.95, 0.002, or_more=True),
    Target("Label-consistent", ("label-consistent",), 0.95, 0.01),
    Target("Blended, opacity 0.2", ("blended-noise", "blended-smooth", "blended-photo"), 0.95, 0.003, or_more=True),
    Target("SIG", ("sig", "sig-strong"), 0.8, 0.02),
    Target("WaNet", ("wanet",), 0.9, 0.05),
    Target("TaCT", ("tact",), 0.9, 0.005),
    Target("BadNets, all to all", ("badnets-all-to-all",), 0.9, 0.05),
    Target("Feature collision", ("feature-collision",), 0.95),
    Target("Bullseye Polytope", ("bullseye",), 0.95),
    Target("Rare word", ("rare-word",), 0.95, 0.01),
)  # fmt: skip
