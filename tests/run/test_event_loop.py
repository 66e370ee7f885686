import asyncio
import contextvars

import pytest

from fedrec_tff.run import event_loop


async def _wait_and_double(number):
    await asyncio.sleep(0)
    return 2 * number


def test_it_runs_with_and_without_a_running_loop():
    assert event_loop.run(_wait_and_double(2)) == 4

    async def cell():
        outer = asyncio.get_running_loop()
        task = asyncio.current_task()
        assert event_loop.run(_wait_and_double(3)) == 6
        assert asyncio.get_running_loop() is outer
        assert asyncio.current_task() is task
        # And again, from inside of the one inside.
        assert event_loop.run(_nest()) == 8
        return await _wait_and_double(5)

    async def _nest():
        return event_loop.run(_wait_and_double(4))

    assert asyncio.run(cell()) == 10


def test_the_outer_loop_is_back_after_an_error():
    async def fail():
        raise RuntimeError("inside")

    async def cell():
        with pytest.raises(RuntimeError, match="inside"):
            event_loop.run(fail())
        return await _wait_and_double(1)

    assert asyncio.run(cell()) == 2


def test_the_threads_own_loop_stays():
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    try:
        event_loop.run(_wait_and_double(1))
        assert asyncio.get_event_loop() is loop
    finally:
        asyncio.set_event_loop(None)
        loop.close()


def test_what_is_said_in_a_context_is_heard():
    variable = contextvars.ContextVar("variable", default=0)

    async def read():
        return variable.get()

    variable.set(3)
    assert event_loop.run(read()) == 3
