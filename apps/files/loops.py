"""What there is one of for each event loop: a server has one loop, tests have one each."""

import asyncio
import weakref
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class PerLoop(Generic[T]):
    """Made for a running event loop when it is first asked for there, and forgotten with the loop."""

    def __init__(self, make: Callable[[], T]) -> None:
        self._make = make
        self._made: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, T] = weakref.WeakKeyDictionary()

    def get(self) -> T:
        """The running loop's."""
        loop = asyncio.get_running_loop()
        found = self._made.get(loop)
        if found is None:
            found = self._made[loop] = self._make()
        return found

    def pop(self) -> T | None:
        """The running loop's, which is no longer its own; None where there is none. Whoever asks for it closes it."""
        return self._made.pop(asyncio.get_running_loop(), None)

    def values(self) -> list[T]:
        """Those of all loops."""
        return list(self._made.values())
