"""What an audit found, and what follows."""

# Tested in tests/privacy/audit/test_audit_membership.py.

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

from fedrec_tff.privacy import departures as departures_lib
from fedrec_tff.privacy.audit import checks, lower_bound


@dataclasses.dataclass(frozen=True)
class AuditReport:
    """An audit's result.

    Attributes:
        claimed_epsilon: Epsilon as the accountant has it; infinite where nothing is claimed.
        delta: Delta of the claim.
        confidence: Confidence level with which the lower bounds hold, all of them together.
        estimates: Estimate of epsilon from each score, by score: no proof.
        bounds: Lower bound that was proved, by score or attack.
        checks: Direct checks of the mechanism.
        departures: Departures that must be named together with the claim.
    """

    claimed_epsilon: float
    delta: float
    confidence: float
    estimates: Mapping[str, float]
    bounds: Mapping[str, lower_bound.LowerBound]
    checks: tuple[checks.Check, ...] = ()
    departures: departures_lib.Departures = departures_lib.NONE

    @property
    def claim_name(self) -> str:
        """What the claimed number is called."""
        return f"{self.departures.epsilon_name}_claimed"

    @property
    def lower_bound(self) -> float:
        """The largest epsilon that was proved to be spent; 0 where no bound was sought."""
        return max((bound.epsilon for bound in self.bounds.values()), default=0.0)

    @property
    def estimate(self) -> float | None:
        """The largest estimate; None where there is none."""
        return max(self.estimates.values(), default=None)

    @property
    def failed_checks(self) -> tuple[checks.Check, ...]:
        """The checks that accuse."""
        return tuple(check for check in self.checks if not check.passed)

    @property
    def accuses(self) -> bool:
        """Whether the run is shown not to keep what it claims."""
        return self.lower_bound > self.claimed_epsilon or bool(self.failed_checks)

    @property
    def verdict(self) -> str:
        """One sentence or two."""
        bound = f"epsilon is at least {self.lower_bound:.3f} ({self.confidence:.0%} confidence)"
        voided_by = self.departures.voided_by
        whose = f" ({voided_by})" if voided_by else ""
        claim = f"{self.claimed_epsilon:.3f} is claimed{whose}"
        reasons = [f"{check.name}: {check.detail}" for check in self.failed_checks]
        if self.lower_bound > self.claimed_epsilon:
            reasons.insert(0, f"{bound}, but {claim}")
        if reasons:
            return f"VIOLATION: the run does not keep what it claims. {'; '.join(reasons)}."
        if not math.isfinite(self.claimed_epsilon):
            return f"NO CLAIM: the run promises no privacy, and {bound}."
        return (
            f"NO VIOLATION FOUND: {bound}, and {claim}. That is no proof of privacy: a stronger "
            "attack may find more."
        )

    def to_json(self) -> dict[str, Any]:
        """Plain data for `json`; infinities stay numbers."""
        return {
            "verdict": self.verdict,
            "accuses": self.accuses,
            self.claim_name: self.claimed_epsilon,
            "departures": self.departures.to_json(),
            "epsilon_lower_bound": self.lower_bound,
            "epsilon_estimate": self.estimate,
            "delta": self.delta,
            "confidence": self.confidence,
            "estimates": dict(self.estimates),
            "bounds": {name: dataclasses.asdict(bound) for name, bound in self.bounds.items()},
            "checks": [dataclasses.asdict(check) for check in self.checks],
        }
