from fedrec_tff.run.tracking.changing_metrics import ChangingMetrics


def test_a_metric_is_drawn_from_its_first_round_on_once_it_has_changed():
    metrics = ChangingMetrics()
    assert metrics.observe({"train/num_clients": 5.0, "train/loss": 2.0}, 1) == [
        ("train/loss", 1, 2.0)
    ]
    assert metrics.observe({"train/num_clients": 5.0}, 2) == []
    assert metrics.constants == {"train/num_clients": 5.0}
    assert metrics.observe({"train/num_clients": 6.0}, 4) == [
        ("train/num_clients", 1, 5.0),
        ("train/num_clients", 2, 5.0),
        ("train/num_clients", 4, 6.0),
    ]
    assert metrics.observe({"train/num_clients": 6.0}, 5) == [("train/num_clients", 5, 6.0)]
    assert metrics.constants == {}


def test_a_session_goes_on_where_the_one_before_has_ended():
    rows = [(1, {"time/a": 1.0, "time/b": 1.0}), (2, {"time/a": 2.0, "time/b": 1.0})]
    metrics = ChangingMetrics(rows)
    # The first has changed already, so that its earlier rounds are drawn.
    assert metrics.observe({"time/a": 2.0, "time/b": 1.0}, 3) == [("time/a", 3, 2.0)]
    assert metrics.observe({"time/b": 0.0}, 4) == [
        *(("time/b", number, 1.0) for number in (1, 2, 3)),
        ("time/b", 4, 0.0),
    ]
