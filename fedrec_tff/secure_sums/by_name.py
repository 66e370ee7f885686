"""From the name of a secure sum, as `--secure_sum` has it, to what sums."""

# Tested in tests/whole_runs/test_execution_flags.py and tests/benchmarks/test_secure_sum_costs.py.

from fedrec_tff.execution import secure_sum


def create_secure_sum(name: str, signed_keys: bool = False) -> secure_sum.SecureSum | None:
    """Creates the secure sum that a run's devices send to.

    Args:
      name: Name of the sum, one of `server_config.SECURE_SUMS`.
      signed_keys: Whether clients of a masked sum sign their keys.

    Returns:
      The sum; None for sums in the clear.
    """
    if name == "plain":
        return None
    if name == "masked":
        from fedrec_tff.secure_sums.masking import masked_sum

        return masked_sum.MaskedSum(signed_keys=signed_keys)
    from fedrec_tff.secure_sums.encryption import encrypted_sum

    return encrypted_sum.EncryptedSum(name)
