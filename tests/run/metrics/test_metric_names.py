"""Names of exact statistics, marked in private runs."""

from fedrec_tff.run.metrics import metric_names

_PLAIN = {"test/recall@10": 0.5, "validation/mrr": 0.25, "test/recall@5": 0.125}
_MARKED = {f"non_private/{name}": value for name, value in _PLAIN.items()}


def test_private_runs_mark_names_and_others_do_not():
    assert metric_names.mark("test/mrr", True) == "non_private/test/mrr"
    assert metric_names.mark("test/mrr", False) == "test/mrr"
    assert metric_names.mark_all(_PLAIN, True) == _MARKED
    assert metric_names.mark_all(_PLAIN, False) == _PLAIN


def test_readers_take_either_name():
    for values in (_PLAIN, _MARKED):
        assert metric_names.find(values, "validation/mrr") == 0.25
        assert metric_names.find(values, "validation/recall@10") is None
        assert metric_names.select(values, "test/") == {"recall@10": 0.5, "recall@5": 0.125}
        assert metric_names.select(values, "personalized/") == {}
    assert metric_names.are_marked(_MARKED, "test/")
    assert not metric_names.are_marked(_PLAIN, "test/")
    assert not metric_names.are_marked(_MARKED, "personalized/")


def test_lengths_of_lists_are_those_of_the_full_catalogue_once_each():
    names = ("recall@10", "test/recall@5", "ndcg@7", "test/recall@10", "sampled_99_recall@3", "mrr")
    assert metric_names.find_list_lengths(names) == (10, 5)
