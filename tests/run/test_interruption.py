import signal
import threading

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


def test_other_threads_leave_signals_to_the_main_one():
    before = signal.getsignal(signal.SIGINT)
    found = []

    def work():
        with interruption.stop_on_signals() as stop:
            found.append((bool(stop), signal.getsignal(signal.SIGINT)))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found == [(False, before)]
