"""One event loop in a thread of its own, where all backends run.

The SDKs' connections belong to a loop; with one that lives as long as the process, `ask` works from any thread,
whether or not a loop runs there, and connections are used again.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")
STOP_S = 2.0
"""How long an interrupted call waits for its requests to be dropped."""

_lock = threading.Lock()
_running: tuple[int, asyncio.AbstractEventLoop, threading.Thread] | None = None


def loop() -> asyncio.AbstractEventLoop:
    """Return this process's loop, started on first use; a forked child starts its own."""
    global _running
    with _lock:
        if _running is None or _running[0] != os.getpid():
            made = asyncio.new_event_loop()
            thread = threading.Thread(target=made.run_forever, name="bench-llm", daemon=True)
            thread.start()
            _running = (os.getpid(), made, thread)
        return _running[1]


def run(work: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine in the loop and wait for it. Ctrl-C cancels it, and is raised again once it has stopped."""
    target = loop()
    if _running is not None and threading.current_thread() is _running[2]:
        work.close()
        raise RuntimeError("a check or backend called ask(): from inside the loop, await answer()")
    stopped = threading.Event()

    async def watched() -> T:
        try:
            return await work
        finally:
            stopped.set()

    future = asyncio.run_coroutine_threadsafe(watched(), target)
    try:
        return future.result()
    except BaseException:
        if future.cancel():
            stopped.wait(STOP_S)
        raise


async def within(work: Coroutine[Any, Any, T]) -> T:
    """Await a coroutine that runs in the loop from any other loop."""
    target = loop()
    if asyncio.get_running_loop() is target:
        return await work
    return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, target))
