"""What the audit by adjacent data says of its run, and what it does before it trains."""

import dataclasses

import adjacent_faults
import pytest

from fedrec_tff.studies.audit import adjacent_audit, adjacent_sums
from fedrec_tff.studies.audit import config as audit_config

_AUDIT = audit_config.AuditConfig(attack=audit_config.ADJACENT, num_runs=0)


@pytest.fixture
def without_sums(monkeypatch):
    """Sums have tests of their own, and take half a minute."""
    monkeypatch.setattr(adjacent_sums, "check_sums", lambda prepared: ())


@pytest.mark.usefixtures("without_sums")
@pytest.mark.parametrize(
    ("flags", "name"),
    [({}, "epsilon_claimed"), ({"insecure_seeded_cohorts": True}, "insecure_epsilon_claimed")],
)
def test_the_claim_has_the_name_that_the_audited_run_gives_it(flags, name):
    config = dataclasses.replace(adjacent_faults.CONFIG, **flags)
    found = adjacent_audit.run(config, _AUDIT, 1.0).report.to_json()
    assert [key for key in found if key.endswith("claimed")] == [name]
    # The pairs have a roster; the audited run has none.
    assert "users_from_data" in [one["name"] for one in found["departures"]]
