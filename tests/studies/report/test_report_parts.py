import pytest
import report_folders

from fedrec_tff.studies.report import inputs, parts


def _split(*paths):
    return parts.split(inputs.read(paths))


def test_seeds_are_one_kind_and_other_data_another_part(tmp_path):
    seeds = report_folders.write_seeds(tmp_path, "plain", [0.1, 0.2, 0.3])
    private = report_folders.write_run(tmp_path / "eps8", epsilon=8.0)
    other = report_folders.write_run(tmp_path / "other", fingerprint="g", rounds=9)
    one, two = _split(*seeds, private, other)
    assert [kind.name for kind in one.kinds] == ["plain", "eps8"]
    assert [kind.name for kind in two.kinds] == ["other"]
    assert [kind.style for kind in (*one.kinds, *two.kinds)] == [0, 1, 2]
    assert (one.title, two.title) == ("ml-1m, leave_last_out (1)", "ml-1m, leave_last_out (2)")


def test_synthetic_data_of_other_seeds_are_drawn_alike(tmp_path):
    folders = [
        report_folders.write_run(
            tmp_path / f"{name}-{seed}",
            dataset="synthetic",
            fingerprint=f"{seed}",
            seed=seed,
            rounds=rounds,
        )
        for name, rounds in (("a", 6), ("b", 9))
        for seed in (0, 1)
    ]
    more = report_folders.write_run(
        tmp_path / "c", dataset="synthetic", fingerprint="0", synthetic_users=77
    )
    one, two = _split(*folders, more)
    assert [kind.name for kind in one.kinds] == ["a", "b"]
    assert [kind.name for kind in two.kinds] == ["c"]


def test_the_best_is_told_by_the_mean_of_validation_and_never_by_test(tmp_path):
    low = report_folders.write_seeds(tmp_path, "low", [0.9, 0.9], validation=0.1)
    high = report_folders.write_seeds(tmp_path, "high", [0.1, 0.1], validation=0.2, rounds=9)
    begun = report_folders.write_run(tmp_path / "begun", validation=0.99, is_finished=False)
    (part,) = _split(*low, *high, begun)
    assert part.best.name == "high"
    assert part.best.find_validation("recall@10").mean == pytest.approx(0.205)
    assert [kind.name for kind in part.kinds] == ["low", "high", "begun (unfinished)"]
    assert part.find_row(part.best).values("recall@10") == [0.1, 0.1]


def test_noised_validation_stands_in_where_it_is_alone(tmp_path):
    changes = {"private/recall@10": 0.17, "non_private/validation/recall@10": None}
    run = report_folders.write_run(tmp_path / "eps8", epsilon=8.0, changes=changes)
    (part,) = _split(run)
    found = part.kinds[0].find_validation("recall@10")
    assert (found.mean, found.is_marked, found.is_noised) == (0.17, False, True)


def test_a_guarantee_is_one_only_where_nothing_voids_it(tmp_path):
    for name, departing, expected in (
        ("good", {}, True),
        ("simulated", {"simulates_deployment": True}, False),
        ("insecure", {"has_deterministic_noise": True}, False),
    ):
        run = report_folders.write_run(tmp_path / name, epsilon=8.0, departing=departing)
        (part,) = _split(run)
        assert part.kinds[0].has_guarantee == expected
        assert part.kinds[0].is_private
    plain = report_folders.write_run(tmp_path / "plain")
    infinite = report_folders.write_run(tmp_path / "infinite", epsilon="inf", rounds=9)
    (part,) = _split(plain, infinite)
    assert not any(kind.has_guarantee for kind in part.kinds)


def test_runs_of_one_name_are_told_apart(tmp_path):
    one = report_folders.write_run(tmp_path / "a" / "run")
    other = report_folders.write_run(tmp_path / "b" / "run", rounds=9)
    (part,) = _split(one, other)
    assert [kind.name for kind in part.kinds] == ["a/run", "b/run"]
    assert {row.title for row in part.rows} == {"popularity on ml-1m", "a/run", "b/run"}
