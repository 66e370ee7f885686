"""Settings of the property tests: examples may take their time on a busy machine."""

import hypothesis

hypothesis.settings.register_profile(
    "datasets", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("datasets")
