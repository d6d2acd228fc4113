"""Three stages at once: one thread reads, the caller's works, one writes.

Bounded queues lie between them, so that memory does not grow with the number of items, whichever
stage is the slow one. A failure in any stage ends the others, Ctrl-C in the caller's included.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from typing import Generic, TypeVar

__all__ = ["DEPTH", "run_stages"]

A = TypeVar("A")
B = TypeVar("B")

# Items that wait before each stage. One would do if every item took the same time; a few ride out
# frames that take longer (key frames, the encoder's look-ahead filling up).
DEPTH = 4
# Waits are cut into pieces of so many seconds: on Windows, Ctrl-C comes through in between only.
_PATIENCE = 0.2


class _Stopped(Exception):  # noqa: N818  not a failure
    """The other side has ended and wants no more."""


class _Queue(Generic[A]):
    def __init__(self, depth: int) -> None:
        self._depth = depth
        self._items: deque[A] = deque()
        self._changed = threading.Condition()
        self._ended = False  # no more items will be put
        self._stopped = False  # no more items will be taken
        self._error: BaseException | None = None  # why either is so

    def put(self, item: A) -> None:
        with self._changed:
            while len(self._items) >= self._depth and not self._stopped:
                self._changed.wait(_PATIENCE)
            if self._stopped:
                raise self._error or _Stopped
            self._items.append(item)
            self._changed.notify_all()

    def end(self, error: BaseException | None = None) -> None:
        """What was put is all; after it, the taker gets ``error``."""
        with self._changed:
            self._ended = True
            self._error = self._error or error
            self._changed.notify_all()

    def stop(self, error: BaseException | None = None) -> None:
        """Whoever puts, gets ``error``; whoever takes, nothing any more."""
        with self._changed:
            self._stopped = True
            self._error = self._error or error
            self._items.clear()
            self._changed.notify_all()

    def check(self) -> None:
        """Raise what the taker failed with, if it did."""
        if self._error is not None:
            raise self._error

    def __iter__(self) -> Iterator[A]:
        while True:
            with self._changed:
                while not (self._items or self._ended or self._stopped):
                    self._changed.wait(_PATIENCE)
                if self._stopped:
                    raise _Stopped
                if not self._items:
                    if self._error is not None:
                        raise self._error
                    return
                item = self._items.popleft()
                self._changed.notify_all()
            yield item


def run_stages(
    source: Iterable[A],
    work: Callable[[A], B],
    sink: Callable[[Iterable[B]], None],
    *,
    depth: int = DEPTH,
) -> None:
    """``sink(work(item) for item in source)``, with source and sink in threads of their own.

    Args:
        source: iterated in one thread, and closed there if it is a generator.
        work: called in the caller's thread.
        sink: called once, in another thread, with an iterable of the results in order. Where
            another stage fails, the iterable raises, so that the sink can clean up and return.
        depth: items that may wait before ``work``, and before ``sink``.

    Raises:
        Whatever a stage raises, when the other stages have ended; of several, the first to arrive.
    """
    read: _Queue[A] = _Queue(depth)
    made: _Queue[B] = _Queue(depth)
    reader = _start("read", lambda: _fill(read, source))
    writer = _start("write", lambda: _empty(made, sink))
    try:
        for item in read:
            made.put(work(item))
        made.end()
        _join(writer)
        made.check()
    except _Stopped:  # the sink has had enough
        pass
    finally:
        read.stop()
        made.stop()
        _join(reader)
        _join(writer)


def _fill(queue: _Queue[A], source: Iterable[A]) -> None:
    try:
        for item in source:
            queue.put(item)
        queue.end()
    except _Stopped:
        pass
    except BaseException as error:
        queue.end(error)
    finally:
        if isinstance(source, Generator):
            source.close()


def _empty(queue: _Queue[B], sink: Callable[[Iterable[B]], None]) -> None:
    try:
        sink(queue)
        queue.stop()
    except _Stopped:
        pass
    except BaseException as error:
        queue.stop(error)


def _start(name: str, target: Callable[[], None]) -> threading.Thread:
    thread = threading.Thread(target=target, name=f"srcnn-fused-{name}", daemon=True)
    thread.start()
    return thread


def _join(thread: threading.Thread) -> None:
    while thread.is_alive():
        thread.join(_PATIENCE)
