import signal

import pytest

from fedrec_tff.run import interruption


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_first_signal_asks_and_second_interrupts(number):
    before = {n: signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)}
    with interruption.stop_on_signals() as stop:
        assert not stop
        signal.raise_signal(number)
        assert stop
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert {n: signal.getsignal(n) for n in before} == before


def test_handlers_come_back_after_an_error():
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(RuntimeError), interruption.stop_on_signals():
        raise RuntimeError
    assert signal.getsignal(signal.SIGTERM) == before


def test_request_by_the_program_itself():
    stop = interruption.StopRequest()
    stop.request()
    assert stop
    with pytest.raises(KeyboardInterrupt):
        stop.request()
