"""Clients and server of a masked sum: who may leave, what the server sees, what clients refuse."""

import dataclasses
import itertools

import numpy as np
import pytest
from scipy import stats

from fedrec_tff.execution import exceptions, secure_sum
from fedrec_tff.secure_sums.masking import (
    failures,
    identity,
    layout,
    masks,
    messages,
    pairs,
    rules,
    secret_sharing,
)
from fedrec_tff.secure_sums.masking.client import Client
from fedrec_tff.secure_sums.masking.server import Server

# A statistic of honest randomness is beyond this once in a thousand million runs.
_LEAST_P_VALUE = 1e-9
# Seven parties of whom five must stay.
_NUM_PARTIES = 7
_NUM_SPARE = 2
_STAGES = ("advertise", "share", "mask", "confirm", "reveal")
_SLOTS = (
    secure_sum.SecureSumSlot((3,), max_input=1000),
    secure_sum.SecureSumSlot((2,), modulus=1009),
    secure_sum.SecureSumSlot((), max_input=2**40),
)


class Exchange:
    """A round, of which everything that reaches the server is kept, and may be altered."""

    def __init__(self, num_parties=_NUM_PARTIES, slots=_SLOTS, signed=False, **rule):
        self.rules = rules.Rules(**rule)
        self.server = Server(slots, self.rules, num_parties)
        self.invitations = self.server.invite()
        self.identities = identity.create_identities(num_parties) if signed else None
        self.clients = [
            Client(slots, self.rules, i, self.identities and self.identities[i.index])
            for i in self.invitations
        ]
        self.signed = signed
        self.seen = []

    def receive(self, message):
        self.seen.append(message)
        return message

    def advertise(self, gone=()):
        for index, client in enumerate(self.clients):
            if index not in gone:
                self.server.receive_advertisement(self.receive(client.advertise()))
        return self.server.send_rosters()

    def share(self, rosters, gone=()):
        for index, roster in rosters.items():
            if index not in gone:
                envelopes = self.receive(self.clients[index].share(roster))
                self.server.receive_shares(index, envelopes)
        return self.server.send_shares()

    def receive_shares(self, inboxes):
        for index, inbox in inboxes.items():
            self.clients[index].receive_shares(inbox)
        return list(inboxes)

    def mask(self, present, values, gone=()):
        for index in present:
            if index not in gone:
                masked = self.clients[index].mask([tensor[index] for tensor in values])
                self.server.receive_masked(self.receive(masked))
        return self.server.announce()

    def request(self, announcement, gone=()):
        for index in announcement.survivors if self.signed else ():
            if index not in gone:
                self.server.receive_confirmation(
                    self.receive(self.clients[index].confirm(announcement))
                )
        return self.server.request_shares()

    def reveal(self, requests, gone=()):
        for index, request in requests.items():
            if index not in gone:
                self.server.receive_revealed(self.receive(self.clients[index].reveal(request)))

    def run_to_announcement(self, values, gone=None):
        gone = gone or {}
        inboxes = self.share(self.advertise(gone.get("advertise", ())), gone.get("share", ()))
        return self.mask(self.receive_shares(inboxes), values, gone.get("mask", ()))

    def run(self, values, gone=None):
        gone = gone or {}
        announcement = self.run_to_announcement(values, gone)
        self.reveal(self.request(announcement, gone.get("confirm", ())), gone.get("reveal", ()))
        return self.server.finish()


def _draw_values(num_parties=_NUM_PARTIES, slots=_SLOTS):
    rng = np.random.default_rng(5)
    return [
        rng.integers(0, slot.modulus or slot.max_input + 1, (num_parties, *slot.shape))
        for slot in slots
    ]


def _assert_sums(found, values, present, slots=_SLOTS):
    for total, tensor, slot in zip(found, values, slots, strict=True):
        expected = tensor[sorted(present)].astype(object).sum(axis=0) % (slot.modulus or 2**64)
        assert total.tolist() == np.array(expected).tolist()


def test_of_two_the_first_adds_and_the_second_takes_away():
    assert [pairs.sign_of(*pair) for pair in ((0, 1), (1, 0), (7, 3))] == [1, -1, -1]


# Who may leave.


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("stage", _STAGES)
def test_as_many_as_may_leave_at_any_stage_do_no_harm(stage, signed):
    if stage == "confirm" and not signed:
        pytest.skip("there is nothing to confirm")
    values = _draw_values()
    gone = {2, 5}
    found = Exchange(signed=signed).run(values, {stage: gone})
    is_before_input = stage in ("advertise", "share", "mask")
    present = set(range(_NUM_PARTIES)) - (gone if is_before_input else set())
    _assert_sums(found, values, present)


def test_some_leave_early_and_some_late():
    values = _draw_values(10)
    # Seven of ten must stay.
    found = Exchange(10).run(values, {"advertise": {0}, "share": {9}, "mask": {4}})
    _assert_sums(found, values, {1, 2, 3, 5, 6, 7, 8})


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("stage", _STAGES)
def test_one_more_and_nothing_is_released(stage, signed):
    if stage == "confirm" and not signed:
        pytest.skip("there is nothing to confirm")
    exchange = Exchange(signed=signed)
    with pytest.raises(failures.TooFewClientsError, match=r": 4 clients .*, 5 are needed"):
        exchange.run(_draw_values(), {stage: {1, 2, 5}})
    with pytest.raises(exceptions.ExecutionError):
        exchange.server.finish()


def test_those_who_leave_before_and_after_their_input_count_together():
    with pytest.raises(failures.TooFewClientsError):
        Exchange().run(_draw_values(), {"mask": {0, 1}, "reveal": {2}})


def test_in_a_sparse_graph_each_masks_with_some_only():
    values = _draw_values(14)
    exchange = Exchange(14, num_neighbours=6)
    found = exchange.run(values, {"mask": {3}, "reveal": {8}})
    _assert_sums(found, values, set(range(14)) - {3})
    envelopes = [m for m in exchange.seen if isinstance(m, messages.Envelopes)]
    assert {len(m.envelopes) for m in envelopes} == {6}


def test_in_a_sparse_graph_a_neighbourhood_that_leaves_ends_the_round():
    exchange = Exchange(14, num_neighbours=6)
    rosters = exchange.advertise()
    # Three of the seven that hold a client's shares; ten of fourteen would be enough.
    around = {peer.sender for peer in rosters[0].advertisements[:3]}
    present = exchange.receive_shares(exchange.share(rosters))
    announcement = exchange.mask(present, _draw_values(14), around)
    # The client in the middle, at the latest, sees that its own secrets could not be opened.
    requests = exchange.request(announcement)
    with pytest.raises(failures.TooFewClientsError, match="around client"):
        exchange.reveal(requests)
    with pytest.raises(failures.TooFewClientsError):
        exchange.server.finish()


def test_in_a_sparse_graph_too_few_answers_around_one_client_release_nothing():
    exchange = Exchange(14, num_neighbours=6)
    rosters = exchange.advertise()
    around = {peer.sender for peer in rosters[0].advertisements[:3]}
    present = exchange.receive_shares(exchange.share(rosters))
    exchange.reveal(exchange.request(exchange.mask(present, _draw_values(14))), around)
    with pytest.raises(failures.TooFewClientsError, match="a share of a secret of client"):
        exchange.server.finish()


# What the server sees.

_SIZE = 4000
_WIDE = (
    # Five parties: below 2**24, three full bytes.
    secure_sum.SecureSumSlot((_SIZE,), max_input=2**21),
    secure_sum.SecureSumSlot((_SIZE,), modulus=1009),
)
_INPUTS = {
    "zeros": [np.zeros((5, _SIZE), np.int64)] * 2,
    "largest": [np.full((5, _SIZE), 2**21), np.full((5, _SIZE), 1008)],
    "ramp": [np.tile(np.arange(_SIZE) * 500, (5, 1)), np.tile(np.arange(_SIZE) % 1009, (5, 1))],
}


def _residues(masked, slots=_WIDE):
    wide = np.frombuffer(masked.vectors[0], np.uint8).reshape(-1, 3).astype(np.int64)
    return wide @ [1, 2**8, 2**16], np.frombuffer(masked.vectors[1], "<u2").astype(np.int64)


def _assert_uniform(wide, narrow):
    octets = np.concatenate([wide >> shift & 255 for shift in (0, 8, 16)])
    assert stats.chisquare(np.bincount(octets, minlength=256)).pvalue > _LEAST_P_VALUE
    assert stats.chisquare(np.bincount(narrow, minlength=1009)).pvalue > _LEAST_P_VALUE


@pytest.mark.parametrize("name", _INPUTS)
def test_what_reaches_the_server_says_nothing(name):
    values = _INPUTS[name]
    exchange = Exchange(5, _WIDE)
    _assert_sums(exchange.run(values, {"mask": {4}}), values, range(4), _WIDE)
    inputs = [_residues(m) for m in exchange.seen if isinstance(m, messages.MaskedInput)]
    assert len(inputs) == 4
    # Of one client, of two, and of all.
    for chosen in ([0], [1], [2], [3], [0, 1], [0, 1, 2, 3]):
        wide = sum(inputs[i][0] for i in chosen) % 2**24
        narrow = sum(inputs[i][1] for i in chosen) % 1009
        _assert_uniform(wide, narrow)
        if name == "ramp":
            for residues, plain in zip((wide, narrow), values, strict=True):
                correlation = np.corrcoef(residues, plain[0])[0, 1]
                assert abs(correlation) < 6 / np.sqrt(_SIZE)
    # Two clients' difference is no less uniform than either.
    _assert_uniform((inputs[0][0] - inputs[1][0]) % 2**24, (inputs[0][1] - inputs[1][1]) % 1009)


def test_no_message_has_an_input_in_it():
    values = _draw_values(5, _WIDE)
    exchange = Exchange(5, _WIDE)
    exchange.run(values)
    seen = repr(exchange.seen).encode()
    seen += b"".join(v for m in exchange.seen for v in getattr(m, "vectors", ()))
    for tensor in values:
        for row in tensor:
            columns = row[:8].astype("<u4").view(np.uint8).reshape(-1, 4)
            for width in (2, 3, 4):
                assert columns[:, :width].tobytes() not in seen


def test_of_each_client_the_server_gets_shares_of_one_secret_only():
    exchange = Exchange()
    exchange.run(_draw_values(), {"mask": {2, 5}})
    answers = [m for m in exchange.seen if isinstance(m, messages.RevealedShares)]
    seeds = {share.owner for answer in answers for share in answer.seed_shares}
    keys = {share.owner for answer in answers for share in answer.key_shares}
    assert seeds == {0, 1, 3, 4, 6}
    assert keys == {2, 5}


def test_no_two_rounds_share_masks():
    values = _INPUTS["zeros"]
    rounds = []
    for _ in range(2):
        exchange = Exchange(5, _WIDE)
        exchange.run(values)
        inputs = [_residues(m) for m in exchange.seen if isinstance(m, messages.MaskedInput)]
        rounds.append(inputs)
    for first, second in zip(*rounds, strict=True):
        _assert_uniform((first[0] - second[0]) % 2**24, (first[1] - second[1]) % 1009)


def _open_seeds(exchange):
    """What the server learns in the end: the seeds of those who stayed."""
    answers = [m for m in exchange.seen if isinstance(m, messages.RevealedShares)]
    shares = {}
    for answer in answers[: exchange.server.threshold]:
        for share in answer.seed_shares:
            shares.setdefault(share.owner, []).append((answer.sender + 1, share.value))
    return {
        owner: secret_sharing.open_secret(*zip(*held, strict=True))
        for owner, held in shares.items()
    }


def test_not_even_with_all_seeds_does_the_server_see_a_part_of_the_sum():
    exchange = Exchange(5, _WIDE)
    exchange.run(_INPUTS["zeros"], {"mask": {4}})
    seeds = _open_seeds(exchange)
    assert len(set(seeds.values())) == 4
    found = layout.create_layout(_WIDE, 5)
    unmasked = {}
    for message in exchange.seen:
        if isinstance(message, messages.MaskedInput):
            owner = message.sender
            vectors = [g.from_wire(v) for g, v in zip(found.groups, message.vectors, strict=True)]
            round_id = exchange.invitations[owner].round_id
            key = pairs.self_mask_key(seeds[owner], round_id, owner)
            masks.apply(vectors, found.groups, key, -1)
            unmasked[owner] = [
                g.reduce(v).astype(np.int64) for g, v in zip(found.groups, vectors, strict=True)
            ]
    for number in (1, 2, 3):
        for chosen in itertools.combinations(unmasked, number):
            wide, narrow = (sum(unmasked[owner][i] for owner in chosen) for i in range(2))
            _assert_uniform(wide % 2**24, narrow % 1009)


def test_no_two_rounds_share_seeds():
    rounds = []
    for _ in range(2):
        exchange = Exchange()
        exchange.run(_draw_values())
        rounds.append(set(_open_seeds(exchange).values()))
    assert len(rounds[0] | rounds[1]) == 2 * _NUM_PARTIES


# What was altered.


def _flip(data, position=0):
    return data[:position] + bytes([data[position] ^ 1]) + data[position + 1 :]


def test_an_altered_ciphertext_is_noticed():
    exchange = Exchange()
    inbox = exchange.share(exchange.advertise())[0]
    first, *others = inbox.envelopes
    altered = dataclasses.replace(first, ciphertext=_flip(first.ciphertext, 40))
    with pytest.raises(failures.TamperedMessageError, match=f"client {first.sender} sealed"):
        exchange.clients[0].receive_shares(messages.Envelopes((altered, *others)))
    with pytest.raises(failures.ProtocolError, match="client 0 stopped"):
        exchange.clients[0].mask([tensor[0] for tensor in _draw_values()])


def test_an_envelope_for_somebody_else_or_twice_is_refused():
    exchange = Exchange()
    inboxes = exchange.share(exchange.advertise())
    with pytest.raises(failures.ProtocolError, match="an envelope of others"):
        exchange.clients[0].receive_shares(inboxes[1])
    twice = messages.Envelopes(inboxes[2].envelopes + inboxes[2].envelopes[:1])
    with pytest.raises(failures.ProtocolError, match="an envelope of others"):
        exchange.clients[2].receive_shares(twice)


@pytest.mark.parametrize("key", ["mask_key", "channel_key", "seed_commitment"])
def test_a_key_that_was_exchanged_on_the_way_is_noticed(key):
    exchange = Exchange()
    rosters = exchange.advertise()
    first, *others = rosters[0].advertisements
    false = dataclasses.replace(first, **{key: Exchange(1).clients[0].advertise().mask_key})
    rosters[0] = messages.Roster((false, *others))
    inboxes = exchange.share(rosters)
    with pytest.raises(failures.TamperedMessageError, match="a public key that it was sealed"):
        exchange.clients[0].receive_shares(inboxes[0])
    with pytest.raises(failures.TamperedMessageError, match="client 0 sealed"):
        exchange.clients[first.sender].receive_shares(inboxes[first.sender])


def test_one_key_for_two_neighbours_is_noticed():
    exchange = Exchange()
    first, second, *others = exchange.advertise()[0].advertisements
    false = dataclasses.replace(second, mask_key=first.mask_key)
    with pytest.raises(failures.TamperedMessageError, match="the same key of two"):
        exchange.clients[0].share(messages.Roster((first, false, *others)))


@pytest.mark.parametrize("field", ["mask_key", "channel_key", "seed_commitment", "signature"])
def test_a_server_cannot_sign_keys_of_its_own(field):
    exchange = Exchange(signed=True)
    first, *others = exchange.advertise()[0].advertisements
    false = dataclasses.replace(first, **{field: _flip(getattr(first, field))})
    with pytest.raises(failures.TamperedMessageError, match=f"not that of client {first.sender}"):
        exchange.clients[0].share(messages.Roster((false, *others)))


@pytest.mark.parametrize(("kind", "owner"), [("seed_shares", 4), ("key_shares", 2)])
@pytest.mark.parametrize("byte", [0, 32])
def test_an_altered_share_is_noticed_and_nothing_is_released(kind, owner, byte):
    exchange = Exchange()
    announcement = exchange.run_to_announcement(_draw_values(), {"mask": {2}})
    for index, request in exchange.request(announcement).items():
        answer = exchange.clients[index].reveal(request)
        if index == 1:
            shares = [
                dataclasses.replace(s, value=_flip(s.value, byte)) if s.owner == owner else s
                for s in getattr(answer, kind)
            ]
            answer = dataclasses.replace(answer, **{kind: tuple(shares)})
        exchange.server.receive_revealed(answer)
    with pytest.raises(failures.TamperedMessageError, match=f"a secret of client {owner} "):
        exchange.server.finish()
    with pytest.raises(failures.ProtocolError, match="finished once"):
        exchange.server.finish()


@pytest.mark.parametrize(
    ("alter", "message"),
    [
        (lambda vectors: (vectors[0][:-1], *vectors[1:]), "the size of the sum"),
        (lambda vectors: vectors[:-1], "the vectors of the sum"),
        (lambda vectors: (vectors[0], b"\xff" * len(vectors[1]), vectors[2]), "modulus"),
    ],
)
def test_a_masked_input_of_another_form_is_refused_and_not_added(alter, message):
    values = _draw_values()
    exchange = Exchange()
    present = exchange.receive_shares(exchange.share(exchange.advertise()))
    masked = exchange.clients[0].mask([tensor[0] for tensor in values])
    altered = dataclasses.replace(masked, vectors=alter(masked.vectors))
    with pytest.raises(failures.ProtocolError, match=message):
        exchange.server.receive_masked(altered)
    exchange.reveal(exchange.request(exchange.mask(present, values, {0})), {0})
    _assert_sums(exchange.server.finish(), values, range(1, _NUM_PARTIES))


# What clients refuse.


def _at_unmasking(signed=False):
    exchange = Exchange(signed=signed)
    announcement = exchange.run_to_announcement(_draw_values(), {"mask": {6}})
    assert announcement == messages.Announcement((0, 1, 2, 3, 4, 5), (6,))
    return exchange, announcement


@pytest.mark.parametrize(
    ("survivors", "dropped", "error", "message"),
    [
        ((0, 1, 2, 3, 4, 5), (5, 6), failures.RefusedRequestError, "both secrets of client 5"),
        ((1, 2, 3, 4, 5), (6,), failures.RefusedRequestError, "told that it left"),
        ((1, 2, 3, 4, 5), (0, 6), failures.RefusedRequestError, "told that it left"),
        ((0, 1, 2, 3), (4, 5, 6), failures.TooFewClientsError, "5 are needed"),
        ((0, 1, 2, 3, 3, 3), (4, 5, 6), failures.TooFewClientsError, "5 are needed"),
        ((0, 1, 2, 3, 7, 8), (4, 5, 6), failures.ProtocolError, "not invited"),
    ],
)
@pytest.mark.parametrize("signed", [False, True])
def test_requests_that_would_uncover_somebody(survivors, dropped, error, message, signed):
    exchange, announcement = _at_unmasking(signed)
    client = exchange.clients[0]
    wrong = messages.Announcement(survivors, dropped)
    with pytest.raises(error, match=message):
        client.confirm(wrong) if signed else client.reveal(messages.UnmaskingRequest(wrong, ()))
    # Nor is another request answered, even a proper one.
    with pytest.raises(failures.ProtocolError, match="client 0 stopped"):
        client.reveal(messages.UnmaskingRequest(announcement, ()))


def test_a_client_counts_survivors_by_its_own_rules():
    exchange = Exchange(min_clients=6)
    present = exchange.receive_shares(exchange.share(exchange.advertise()))
    exchange.mask(present, _draw_values())
    # Enough to open secrets, but fewer than a sum may be released of.
    wrong = messages.Announcement((0, 1, 2, 3, 4), (5, 6))
    with pytest.raises(failures.TooFewClientsError, match="6 are needed"):
        exchange.clients[0].reveal(messages.UnmaskingRequest(wrong, ()))


def test_one_request_is_answered_only():
    exchange, announcement = _at_unmasking()
    client = exchange.clients[0]
    client.reveal(messages.UnmaskingRequest(announcement, ()))
    other = messages.Announcement((0, 1, 2, 3, 4), (5, 6))
    for again in (other, announcement):
        with pytest.raises(failures.ProtocolError, match="client 0"):
            client.reveal(messages.UnmaskingRequest(again, ()))


def test_a_client_that_confirmed_reveals_nothing_about_other_survivors():
    exchange, announcement = _at_unmasking(signed=True)
    exchange.request(announcement)
    other = messages.Announcement((0, 1, 2, 3, 4), (5, 6))
    with pytest.raises(failures.RefusedRequestError, match="other survivors than it confirmed"):
        exchange.clients[0].reveal(messages.UnmaskingRequest(other, ()))


def test_confirmations_must_be_genuine_and_enough():
    exchange, announcement = _at_unmasking(signed=True)
    requests = exchange.request(announcement)
    first, *others = requests[0].confirmations
    forged = dataclasses.replace(first, signature=_flip(first.signature))
    with pytest.raises(failures.TamperedMessageError, match=f"not that of client {first.sender}"):
        exchange.clients[0].reveal(messages.UnmaskingRequest(announcement, (forged, *others)))
    repeated = messages.UnmaskingRequest(announcement, requests[1].confirmations[:1] * 5)
    with pytest.raises(failures.TooFewClientsError, match="2 clients around client 1"):
        exchange.clients[1].reveal(repeated)


def test_two_sets_of_survivors_cannot_both_be_confirmed():
    exchange, announcement = _at_unmasking(signed=True)
    other = messages.Announcement((0, 1, 2, 3, 4), (5, 6))
    told_otherwise = (3, 4)
    signed = [
        exchange.clients[i].confirm(other if i in told_otherwise else announcement)
        for i in announcement.survivors
    ]
    request = messages.UnmaskingRequest(announcement, tuple(signed[1:]))
    with pytest.raises(failures.TamperedMessageError, match="not that of client 3"):
        exchange.clients[0].reveal(request)


def test_what_was_confirmed_in_another_round_with_its_identifier_does_not_count(monkeypatch):
    monkeypatch.setattr(
        "fedrec_tff.secure_sums.masking.server.os.urandom", lambda size: b"r" * size
    )
    known = identity.create_identities(_NUM_PARTIES)
    monkeypatch.setattr(identity, "create_identities", lambda number: known)
    before, announcement = _at_unmasking(signed=True)
    replayed = before.request(announcement)[0].confirmations
    now, same = _at_unmasking(signed=True)
    assert same == announcement
    assert now.invitations == before.invitations
    genuine = now.request(same)[0].confirmations
    request = messages.UnmaskingRequest(same, (*genuine[:-1], replayed[-1]))
    with pytest.raises(failures.TamperedMessageError, match="not that of client"):
        now.clients[0].reveal(request)


def test_nothing_is_revealed_before_the_input_is_sent():
    exchange = Exchange()
    exchange.receive_shares(exchange.share(exchange.advertise()))
    everybody = messages.Announcement(tuple(range(_NUM_PARTIES)), ())
    with pytest.raises(failures.ProtocolError, match="client 0 got all shares"):
        exchange.clients[0].reveal(messages.UnmaskingRequest(everybody, ()))


def test_an_input_is_sent_once():
    values = _draw_values()
    exchange = Exchange()
    exchange.receive_shares(exchange.share(exchange.advertise()))
    first = exchange.clients[0].mask([tensor[0] for tensor in values])
    with pytest.raises(failures.ProtocolError, match="client 0 sent its masked input"):
        exchange.clients[0].mask([tensor[0] for tensor in values])
    exchange.server.receive_masked(first)
    with pytest.raises(failures.ProtocolError, match="not expected"):
        exchange.server.receive_masked(first)


def test_just_enough_is_enough_for_a_client_and_one_fewer_is_not():
    """Five of seven, itself among them: when keys come, shares come, inputs and confirmations."""
    exchange = Exchange(signed=True)
    rosters = exchange.advertise()
    exchange.clients[0].share(messages.Roster(rosters[0].advertisements[:4]))
    exchange = Exchange(signed=True)
    inboxes = exchange.share(exchange.advertise())
    for client, number in ((0, 4), (1, 3)):
        inbox = messages.Envelopes(inboxes[client].envelopes[:number])
        if number == 4:
            exchange.clients[client].receive_shares(inbox)
            continue
        with pytest.raises(failures.TooFewClientsError, match=r"4 clients .* shared their secrets"):
            exchange.clients[client].receive_shares(inbox)
    exchange, _ = _at_unmasking(signed=True)
    announcement = messages.Announcement((0, 1, 2, 3, 4), (5, 6))
    signed = [exchange.clients[i].confirm(announcement) for i in announcement.survivors]
    enough = messages.UnmaskingRequest(announcement, tuple(signed[1:]))
    assert len(exchange.clients[0].reveal(enough).seed_shares) == 5
    with pytest.raises(failures.TooFewClientsError, match=r"4 clients around client 1 confirmed"):
        exchange.clients[1].reveal(messages.UnmaskingRequest(announcement, tuple(signed[2:])))


def test_a_client_does_not_share_with_too_few_nor_with_strangers():
    exchange = Exchange()
    rosters = exchange.advertise()
    with pytest.raises(failures.TooFewClientsError, match="5 are needed"):
        exchange.clients[0].share(messages.Roster(rosters[0].advertisements[:3]))
    own = rosters[0].advertisements[0]
    with pytest.raises(failures.ProtocolError, match="cannot have"):
        exchange.clients[own.sender].share(messages.Roster(rosters[0].advertisements))


@pytest.mark.parametrize("signed", [False, True])
def test_a_client_does_not_share_with_more_than_its_threshold_is_for(signed):
    """With enough neighbours, half could be told that it stayed, and half that it left."""
    exchange = Exchange(20, signed=signed, num_neighbours=6)
    rosters = exchange.advertise()
    everybody = {peer.sender: peer for roster in rosters.values() for peer in roster.advertisements}
    others = tuple(peer for index, peer in everybody.items() if index)
    assert len(others) == 19
    with pytest.raises(failures.ProtocolError, match=r"given 19 neighbours.*6 at most"):
        exchange.clients[0].share(messages.Roster(others))


def test_errors_show_no_secrets():
    share = messages.Share(3, b"secret bytes")
    assert "secret" not in repr(share)
