"""Costs as Markdown, against tables written by hand."""

from fedrec_tff.benchmarks import aggregator_report, aggregator_rounds, secure_sum_costs, timing


def test_aggregators_stand_in_a_table():
    costs = [
        aggregator_rounds.AggregatorCost(
            "mean", True, timing.Quartiles(9.6, 10.4, 11.2), 1.0, 2.4, None
        ),
        aggregator_rounds.AggregatorCost(
            "top_k,mean", False, timing.Quartiles(19.0, 20.0, 21.0), 1.96, 3.0, 12.34
        ),
    ]
    assert aggregator_report.to_markdown(costs).split("\n") == [
        "| aggregator | updates | round ms | quartiles | server ms | kB up | time : mean |",
        "| --- | --- | --- | --- | --- | --- | --- |",
        "| `mean` | rows | 10 | 10 to 11 | 2 |  | 1.0 |",
        "| `top_k,mean` | dense | 20 | 19 to 21 | 3 | 12.3 | 2.0 |",
    ]


def test_sums_are_compared_with_the_plain_one_of_their_size():
    costs = [
        secure_sum_costs.SecureSumCost("plain", 1000, 0.00012, 4000.0, 0.0),
        secure_sum_costs.SecureSumCost("masked", 1000, 0.25, 6000.0, 1500.0),
        secure_sum_costs.SecureSumCost("masked", 2000, 0.5, 9000.0, 1500.0),
    ]
    assert aggregator_report.to_markdown(costs).split("\n") == [
        "| integers | sum | seconds per client | kB up | kB down | up : plain |",
        "| --- | --- | --- | --- | --- | --- |",
        "| 1,000 | plain | 0.0001 | 4.0 | 0.0 | 1.0 |",
        "| 1,000 | masked | 0.2500 | 6.0 | 1.5 | 1.5 |",
        "| 2,000 | masked | 0.5000 | 9.0 | 1.5 |  |",
    ]
