import pytest

from fedrec_tff import errors
from fedrec_tff.config.run_config import RunConfig
from fedrec_tff.studies.robustness import config as robustness_config


def test_lists_are_taken_apart():
    assert robustness_config.split_aggregators(
        ["mean; weighted_mean", "clip,mean  clip.norm=1 ;mean"]
    ) == ("mean", "weighted_mean", "clip,mean clip.norm=1")
    assert robustness_config.split_attacks(["nan,alie:1.5", "stale;nan"]) == (
        "nan",
        "alie:1.5",
        "stale",
    )


def test_attacks_are_tried_with_each_fraction_that_they_lack():
    attacks = ("nan", "scaling:5", "alie@0.3", "stale", "clean", "rumour")
    assert robustness_config.spread_over_fractions(attacks, ["0.001", "0.05"]) == (
        *("nan@0.001", "nan@0.05", "scaling:5@0.001", "scaling:5@0.05"),
        *("alie@0.3", "stale", "clean", "rumour"),
    )
    assert robustness_config.spread_over_fractions(attacks, []) == attacks
    cells = robustness_config.create_cells(
        RunConfig(attack_num_targets=3), ("mean",), ("scaling:5@0.05", "target_promotion@0.001")
    )
    _, scaled, promoted = (cell.config for cell in cells)
    assert (scaled.attack_scale, scaled.attack_fraction) == (5.0, 0.05)
    assert (promoted.attack_scale, promoted.attack_fraction) == (None, 0.001)
    assert (scaled.attack_num_targets, promoted.attack_num_targets) == (1, 3)
    assert [cell.folder for cell in cells[1:]] == [
        "cells/mean/scaling=5@0.05",
        "cells/mean/target_promotion@0.001",
    ]


def test_each_aggregator_gets_a_clean_run_and_one_for_each_attack():
    base = RunConfig(attack_fraction=0.3, attack_target_item="4", failure_rate=0.1)
    cells = robustness_config.create_cells(
        base, ("mean", "weighted_mean"), ("sign_flip:5", "target_promotion", "stale")
    )
    assert [(cell.aggregator, cell.attack) for cell in cells] == [
        (aggregator, attack)
        for aggregator in ("mean", "weighted_mean")
        for attack in ("clean", "sign_flip:5", "target_promotion", "stale")
    ]
    assert len({cell.folder for cell in cells}) == 8
    clean, flipped, promoted, stale = (cell.config for cell in cells[4:])
    assert {cell.config.aggregator for cell in cells[4:]} == {"weighted_mean"}
    assert clean == RunConfig(aggregator="weighted_mean")
    assert (flipped.attack, flipped.attack_scale, flipped.attack_fraction) == ("sign_flip", 5, 0.3)
    assert (promoted.attack_scale, promoted.attack_target_item) == (None, "4")
    assert (stale.attack, stale.failure, stale.failure_rate) == (None, "stale", 0.1)


def test_a_study_of_metrics_cannot_withhold_them():
    base = RunConfig(noise_multiplier=1.0, withhold_held_out_metrics=True)
    with pytest.raises(errors.UserError, match="--withhold_held_out_metrics"):
        robustness_config.create_cells(base, ("dp_gaussian",), ())


def test_folders_are_plain_names_and_differ_where_the_texts_do():
    folders = [
        robustness_config.Cell(aggregator, "clean", RunConfig()).folder
        for aggregator in ("mean", "a/b.py:c", "a-b.py:c", "a b.py:c", "..", "x" * 300, "x" * 301)
    ]
    assert folders[0] == "cells/mean/clean"
    assert len(set(folders)) == 7
    for folder in folders:
        _, name, _ = folder.split("/")
        assert name != ".."
        assert len(name) < 100


@pytest.mark.parametrize(
    ("base", "aggregators", "attacks", "message"),
    [
        ({"attack": "nan"}, ["mean"], [], "--attack differs from run to run"),
        ({"aggregator": "mean"}, ["mean"], [], "--aggregator differs from run to run"),
        ({}, [], ["nan"], "--aggregators: name at least one"),
        ({}, ["mean"], ["rumour"], "--attacks: 'rumour' is unknown"),
        ({}, ["mean"], ["stale:3"], "--attacks: 'stale:3' is unknown"),
        ({}, ["mean"], ["scaling:much"], "the scale must be a number"),
        ({}, ["mean"], ["scaling@few"], "the fraction must be a number"),
        ({}, ["mean"], ["scaling@1.5"], "--attack_fraction=1.5"),
        ({}, ["mean"], ["stale@0.1"], "'stale@0.1' is unknown"),
        ({}, ["mean"], ["scaling:-1"], "--attack_scale=-1"),
        ({}, ["median_of_dice"], ["nan"], "median_of_dice"),
    ],
)
def test_wrong_studies_are_told_before_anything_runs(base, aggregators, attacks, message):
    with pytest.raises(errors.UserError, match=message):
        robustness_config.create_cells(RunConfig(**base), aggregators, attacks)
