"""Tests of keys and pseudonyms."""

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedrec_tff import errors
from fedrec_tff.anonymization import keys, pseudonyms

_KEY = bytes(range(32))
_IDS = st.lists(st.text(), min_size=1, unique=True)


def _hmac_by_hand(key, message):
    """RFC 2104, for keys of at most a block."""
    padded = key.ljust(64, b"\0")
    inner = hashlib.sha256(bytes(b ^ 0x36 for b in padded) + message).digest()
    return hashlib.sha256(bytes(b ^ 0x5C for b in padded) + inner).digest()


def test_pseudonyms_are_the_hmac_of_the_id():
    epoch_key = _hmac_by_hand(_KEY, b"epoch:2026Q4")
    domain_key = _hmac_by_hand(epoch_key, b"domain:user")
    expected = [_hmac_by_hand(domain_key, raw).hex()[:32] for raw in (b"7", "é".encode())]
    assert pseudonyms.Pseudonymizer(_KEY, "2026Q4").pseudonyms(["7", "é"], "user") == expected


@given(_IDS, st.text(), st.text())
def test_one_key_and_epoch_name_alike_and_others_do_not(ids, epoch, other_epoch):
    first = pseudonyms.Pseudonymizer(_KEY, epoch)
    names = first.pseudonyms(ids, "user")
    assert names == pseudonyms.Pseudonymizer(_KEY, epoch).pseudonyms(ids, "user")
    assert len(set(names)) == len(ids)
    others = first.pseudonyms(ids, "item")
    others += pseudonyms.Pseudonymizer(_KEY[::-1], epoch).pseudonyms(ids, "user")
    if epoch != other_epoch:
        others += pseudonyms.Pseudonymizer(_KEY, other_epoch).pseudonyms(ids, "user")
    assert not set(names) & set(others)


def test_a_repeated_pseudonym_is_refused():
    with pytest.raises(errors.UserError, match="same pseudonym"):
        pseudonyms.Pseudonymizer(_KEY, "1").pseudonyms(["a", "a"], "user")


def _write_key(path, text, mode=0o600):
    path.write_text(text)
    path.chmod(mode)
    return path


def test_a_file_goes_before_the_environment(tmp_path):
    path = _write_key(tmp_path / "key", "0123456789abcdef0123\n")
    environment = {keys.ENVIRONMENT_VARIABLE: " fedcba9876543210 "}
    assert keys.read_key(path, environment) == b"0123456789abcdef0123"
    assert keys.read_key(None, environment) == b"fedcba9876543210"


@pytest.mark.parametrize(
    ("text", "mode", "message"),
    [
        ("0123456789abcde", 0o600, "has 15 bytes, and 16"),
        ("0101010101010101010101", 0o600, "not random"),
        ("0123456789abcdef", 0o640, "chmod 600"),
        ("0123456789abcdef", 0o604, "chmod 600"),
    ],
)
def test_bad_keys_are_refused_without_showing_them(tmp_path, text, mode, message):
    path = _write_key(tmp_path / "key", text, mode)
    with pytest.raises(errors.UserError, match=message) as caught:
        keys.read_key(path, {})
    assert text not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_no_key_tells_how_to_make_one(tmp_path):
    with pytest.raises(errors.UserError, match=r"openssl rand.*--key_file"):
        keys.read_key(None, {})
    with pytest.raises(errors.UserError, match="no such file; make a key"):
        keys.read_key(tmp_path / "gone", {})
    with pytest.raises(errors.UserError, match="key_file"):
        keys.read_key(tmp_path, {})
