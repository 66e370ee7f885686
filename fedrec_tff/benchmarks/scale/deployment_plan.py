"""What a deployment takes: seconds and bytes of a round, memory, and rounds in its time.

A phone's round is that of `learning.simulation.fleet`: download, examples, upload. A round of the
deployment ends with the last report that is needed, or at its deadline. Sending and receiving
overlap with the phones' work; adding up and the server's step follow it.
"""

# Tested in tests/benchmarks/scale/test_deployment_plan.py.

import dataclasses
import math

import numpy as np
from scipy import special

from fedrec_tff import errors
from fedrec_tff.benchmarks.scale import cost_model
from fedrec_tff.benchmarks.scale.deployment import Deployment

_BITS = 8.0
_MEGA, _GIGA = 1e6, 1e9
_SECONDS_PER_DAY = 86_400.0
_NUM_QUANTILES = 400


@dataclasses.dataclass(frozen=True)
class PhoneCost:
    """What a round asks of a phone.

    Attributes:
      download_bytes: Bytes of the model.
      upload_bytes: Bytes of its update: the rows that it touches, and the towers.
      download_seconds: Seconds of the median phone's download.
      computing_seconds: Seconds of the median phone's training.
      upload_seconds: Seconds of the median phone's upload.
    """

    download_bytes: float
    upload_bytes: float
    download_seconds: float
    computing_seconds: float
    upload_seconds: float


@dataclasses.dataclass(frozen=True)
class DeploymentPlan:
    """What comes out.

    Attributes:
      num_weights: Number of weights of the model.
      phone: Cost of a round for a phone.
      slowest_quantile: Share of the phones that stay which have reported when the round ends.
      phones_seconds: Seconds until then.
      num_reports: Expected number of reports of a round.
      sent_bytes: Bytes that the server sends in a round.
      received_bytes: Bytes that the server receives in a round.
      link_seconds: Seconds that these take on the workers' links.
      adding_seconds: Seconds in which updates are added up.
      step_seconds: Seconds of noise and optimiser.
      round_seconds: Seconds of a round.
      server_bytes: Memory of the machine that takes the step.
      rounds: Number of rounds in the days.
      rounds_per_user: Number of rounds that a user is asked in, on average.
      simulated_round_seconds: Seconds in which the workers would simulate a round, phones
        included, at the speed that was measured.
    """

    num_weights: int
    phone: PhoneCost
    slowest_quantile: float
    phones_seconds: float
    num_reports: float
    sent_bytes: float
    received_bytes: float
    link_seconds: float
    adding_seconds: float
    step_seconds: float
    round_seconds: float
    server_bytes: float
    rounds: int
    rounds_per_user: float
    simulated_round_seconds: float

    @property
    def bottleneck(self) -> str:
        """The part that takes the most of a round."""
        parts = {
            "the phones' downloads": self.phone.download_seconds,
            "the phones' computing": self.phone.computing_seconds,
            "the phones' uploads": self.phone.upload_seconds,
            "the workers' links": self.link_seconds,
            "adding up": self.adding_seconds,
            "noise and optimiser": self.step_seconds,
        }
        return max(parts, key=parts.get)


def plan(deployment: Deployment) -> DeploymentPlan:
    """Plans a deployment.

    Args:
      deployment: A valid deployment.

    Returns:
      The plan.

    Raises:
      UserError: If the workers' links take longer than a round's deadline.
    """
    phone = _find_phone_cost(deployment)
    staying = 1.0 - deployment.devices.dropout
    if deployment.round_deadline_seconds is not None:
        phones_seconds = deployment.round_deadline_seconds
        quantile = _find_share_within(deployment, phone, phones_seconds)
        num_reports = deployment.clients_per_round * staying * quantile
    else:
        # Where all are needed, the last of them.
        last = deployment.clients_per_round / (deployment.clients_per_round + 1.0)
        quantile = min(last, 1.0 / (deployment.over_selection * staying))
        phones_seconds = _find_quantile(deployment, phone, quantile)
        num_reports = float(deployment.clients_per_round)
    sent = deployment.num_asked * phone.download_bytes
    received = num_reports * phone.upload_bytes
    bytes_per_second = deployment.workers * deployment.worker_gbps * _GIGA / _BITS
    link_seconds = max(sent, received) / bytes_per_second
    if link_seconds > (deployment.round_deadline_seconds or math.inf):
        raise errors.UserError(
            f"--round_deadline_seconds={deployment.round_deadline_seconds:g}: {deployment.workers} "
            f"workers of {deployment.worker_gbps:g} Gbit/s take {link_seconds:.0f} s to send the "
            "model to all who are asked: more --workers, a longer deadline, or fewer "
            "--clients_per_round"
        )
    cores = deployment.workers * deployment.cores_per_worker
    adding = received / (cores * deployment.added_gigabytes_per_second * _GIGA)
    step = cost_model.predict_server_step(deployment.num_weights)
    seconds = deployment.seconds_between_rounds + max(phones_seconds, link_seconds) + adding + step
    rounds = math.floor(deployment.days * _SECONDS_PER_DAY / seconds)
    return DeploymentPlan(
        num_weights=deployment.num_weights,
        phone=phone,
        slowest_quantile=quantile,
        phones_seconds=phones_seconds,
        num_reports=num_reports,
        sent_bytes=sent,
        received_bytes=received,
        link_seconds=link_seconds,
        adding_seconds=adding,
        step_seconds=step,
        round_seconds=seconds,
        server_bytes=cost_model.predict_memory(deployment.num_weights),
        rounds=rounds,
        rounds_per_user=rounds * deployment.num_asked / deployment.num_users,
        simulated_round_seconds=_simulate(deployment, cores),
    )


def _find_phone_cost(deployment: Deployment) -> PhoneCost:
    devices, num_weights = deployment.devices, deployment.num_weights
    # As `run.device_rounds` has it: all items of a user, and all negatives, are different.
    rows = min(deployment.interactions_per_user + deployment.num_negatives, deployment.num_items)
    tower = num_weights - deployment.num_items * (deployment.embedding_dim + 1)
    download = float(cost_model.BYTES_PER_WEIGHT * num_weights)
    upload = float(cost_model.BYTES_PER_WEIGHT * (rows * (deployment.embedding_dim + 2) + tower))
    examples = deployment.interactions_per_user * deployment.local_epochs
    return PhoneCost(
        download,
        upload,
        download * _BITS / _MEGA / devices.download_mbps,
        examples * devices.seconds_per_example,
        upload * _BITS / _MEGA / devices.upload_mbps,
    )


def _find_share_within(deployment: Deployment, phone: PhoneCost, seconds: float) -> float:
    """The share of phones that are done within some seconds.

    A mean over the quantiles of links of the share of speeds that is fast enough for each.
    """
    middles = (np.arange(_NUM_QUANTILES) + 0.5) / _NUM_QUANTILES
    devices = deployment.devices
    link = (phone.download_seconds + phone.upload_seconds) * np.exp(
        devices.link_spread * special.ndtri(middles)
    )
    left = np.maximum(seconds - link, 0.0)
    if not devices.speed_spread or not phone.computing_seconds:
        return float(np.mean(left >= phone.computing_seconds))
    with np.errstate(divide="ignore"):
        logs = np.log(left / phone.computing_seconds)
    return float(np.mean(special.ndtr(logs / devices.speed_spread)))


def _find_quantile(deployment: Deployment, phone: PhoneCost, share: float) -> float:
    """The seconds within which a share of the phones is done, by bisection."""
    low, high = 0.0, 1.0
    while _find_share_within(deployment, phone, high) < share:
        high *= 2.0
    for _ in range(60):
        middle = (low + high) / 2.0
        if _find_share_within(deployment, phone, middle) < share:
            low = middle
        else:
            high = middle
    return high


def _simulate(deployment: Deployment, num_cores: int) -> float:
    size = cost_model.RoundSize(
        deployment.clients_per_round,
        deployment.interactions_per_user * deployment.local_epochs,
        deployment.embedding_dim,
        deployment.num_weights,
        num_cores,
    )
    return cost_model.predict(size).seconds
