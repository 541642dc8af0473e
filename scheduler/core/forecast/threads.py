"""Small matrices are no work for several threads: they wait for each other.

With two threads on two busy cores a fit of 20 ms took up to 20 s, since BLAS spins until the last
of its threads has had its turn.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

from threadpoolctl import ThreadpoolController


@contextmanager
def one_thread() -> Iterator[None]:
    """numpy's linear algebra stays in this thread, and is as it was afterwards."""
    with _controller().limit(limits=1, user_api="blas"):
        yield


@cache
def _controller() -> ThreadpoolController:
    """Of the libraries that are loaded now, numpy's among them: looking for them takes 1 ms."""
    return ThreadpoolController()
