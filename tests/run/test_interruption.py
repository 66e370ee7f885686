import hashlib
import os
import signal
import threading
import time

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


def _wait_for(read, text):
    found, end = "", time.monotonic() + 30.0
    while text not in found:
        assert time.monotonic() < end
        time.sleep(0.01)
        found += read()
    return found


def test_an_answer_comes_while_the_main_thread_is_busy_in_c(capfd):
    """As in a compilation: no handler runs until it returns, and two signals are one to Python."""
    order = []

    def send():
        for text in ("finished and saved", "stopping without it"):
            os.kill(os.getpid(), signal.SIGINT)
            _wait_for(lambda: capfd.readouterr().err, text)
            order.append(text)

    def work():
        try:
            # One step of Python, of a second or more.
            hashlib.pbkdf2_hmac("sha256", b"", b"", 4_000_000)
        finally:
            order.append("returned")
            sender.join()

    sender = threading.Thread(target=send)
    with interruption.stop_on_signals():
        sender.start()
        with pytest.raises(KeyboardInterrupt):
            work()
    assert order == ["finished and saved", "stopping without it", "returned"]
