from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from scene import Scene, assert_replays


@pytest.fixture
def scenes() -> Iterator[Callable[..., Scene]]:
    """Makes scenes; at the end each of them must replay."""
    made: list[Scene] = []

    def make(*args: object, **kwargs: object) -> Scene:
        made.append(Scene(*args, **kwargs))
        return made[-1]

    yield make
    for scene in made:
        assert_replays(scene.core)


@pytest.fixture
def scene(scenes: Callable[..., Scene]) -> Scene:
    return scenes()
