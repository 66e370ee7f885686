"""Runs whose devices sign the keys of a masked sum: the same model, other bytes, no forged key."""

import dataclasses
import json

import numpy as np
import pandas as pd
import pytest

from fedrec_tff import errors
from fedrec_tff.config.run_config import RunConfig
from fedrec_tff.run import session
from fedrec_tff.run.folder import model_file
from fedrec_tff.secure_sums.masking import key_agreement
from fedrec_tff.secure_sums.masking.server import Server

_NUM_CLIENTS = 4
_SIGNATURE, _INTEGER = 64, 4
_UP = "communication/upload_megabytes"
_DOWN = "communication/secure_sum_download_megabytes"


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    """One round of four clients, of which each masks with the three others."""
    path = tmp_path_factory.mktemp("signed") / "log.csv"
    rows = [(f"u{user}", f"i{(user + step) % 9}") for user in range(6) for step in range(4)]
    pd.DataFrame(rows, columns=["user_id", "item_id"]).to_csv(path, index=False)
    return RunConfig(
        dataset="csv",
        data_dir=str(path),
        embedding_dim=2,
        num_negatives=2,
        history_length=4,
        aggregator="secure_mean",
        secure_sum="masked",
        sampling="fixed_size",
        clients_per_round=float(_NUM_CLIENTS),
        rounds=1,
        execution="debug",
    )


def _run(config, root):
    session.run(config, root)
    metrics = pd.read_csv(root / "metrics.csv").iloc[-1]
    return model_file.load(root / "model.npz"), metrics


@pytest.mark.slow
def test_signatures_change_the_bytes_that_are_sent_and_no_bit_of_the_model(config, tmp_path):
    unsigned, before = _run(config, tmp_path / "unsigned")
    signing = dataclasses.replace(config, signed_keys=True)
    signed, after = _run(signing, tmp_path / "signed")
    np.testing.assert_array_equal(signed.items.embedding, unsigned.items.embedding)
    np.testing.assert_array_equal(signed.items.bias, unsigned.items.bias)
    for ours, theirs in zip(signed.tower, unsigned.tower, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    neighbours = _NUM_CLIENTS - 1
    confirmation = 2 * _INTEGER + _SIGNATURE
    announcement = (1 + _NUM_CLIENTS) * _INTEGER + _INTEGER
    up = _SIGNATURE + confirmation
    down = neighbours * (_SIGNATURE + confirmation) + announcement
    assert 1e6 * (after[_UP] - before[_UP]) == pytest.approx(_NUM_CLIENTS * up)
    assert 1e6 * (after[_DOWN] - before[_DOWN]) == pytest.approx(_NUM_CLIENTS * down)
    assert json.loads((tmp_path / "signed" / "config.json").read_text())["flags"]["signed_keys"]
    # A run is signed from its first round to its last, or not at all.
    with pytest.raises(errors.UserError, match="--signed_keys=False"):
        session.run(dataclasses.replace(config, rounds=2), tmp_path / "signed")


@pytest.mark.parametrize("signed_keys", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_a_server_that_hands_out_a_key_of_its_own_ends_the_run_in_one_line(
    signed_keys, config, tmp_path, monkeypatch
):
    send_rosters = Server.send_rosters

    def forge(server):
        """For each neighbour of client 0, another pair of keys than client 0 has."""
        forged = key_agreement.KeyPair().public
        return {
            index: dataclasses.replace(
                roster,
                advertisements=tuple(
                    dataclasses.replace(a, mask_key=forged) if a.sender == 0 else a
                    for a in roster.advertisements
                ),
            )
            for index, roster in send_rosters(server).items()
        }

    monkeypatch.setattr(Server, "send_rosters", forge)
    # Without signatures the seals tell, but only since this server keeps the other keys.
    expected = "a signature is not that of client 0" if signed_keys else "was altered"
    with pytest.raises(errors.UserError, match=expected) as caught:
        session.run(dataclasses.replace(config, signed_keys=signed_keys), tmp_path / "run")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "run" / "model.npz").exists()
