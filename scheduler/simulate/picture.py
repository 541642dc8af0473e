"""Memory over time as a picture: SVG that needs nothing besides, legible on light and on dark.

One panel a device, from below: strangers in grey, then each attempt in a colour of its trial.
SVG 1.1 (w3.org/TR/SVG11) with one style sheet of its own.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from colorsys import hls_to_rgb
from xml.sax.saxutils import escape

from scheduler.simulate.outcome import Outcome
from scheduler.simulate.trace import Moment, Span

WIDTH, PANEL, LEFT, TOP, GAP = 960, 190, 64, 46, 34  #: in user units
COLUMNS = 480  #: moments drawn at most
GIB = 1 << 30
_TURN = 137.508  #: degrees: the golden angle keeps hues that follow each other apart

_STYLE = """
svg { font: 12px system-ui, sans-serif; background: #fff; color: #222 }
text { fill: currentColor } .axis { stroke: #888; stroke-width: 1 }
.total { stroke: currentColor; stroke-width: 1.5 } .others { fill: #999; opacity: .55 }
.oom { stroke: #d00; stroke-width: 2; fill: none } .t { stroke: #fff; stroke-width: .5 }
@media (prefers-color-scheme: dark) { svg { background: #161616; color: #ddd }
 .oom { stroke: #f66 } .t { stroke: #161616 } }
"""


def picture(outcome: Outcome, title: str) -> str:
    """The whole document. *outcome* was traced."""
    devices = [key for key in outcome.totals if outcome.traces[key].moments]
    height = TOP + len(devices) * (PANEL + GAP) + 20
    end_s = max((span.ended_s for span in outcome.spans), default=1.0) or 1.0
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img">',
        f"<title>{escape(title)}</title><style>{_STYLE}</style>",
        f'<text x="{LEFT}" y="22" font-size="15">{escape(title)}</text>',
    ]
    for number, key in enumerate(devices):
        top = TOP + number * (PANEL + GAP)
        parts += _Panel(outcome, key, top, end_s).lines()
    return "\n".join([*parts, "</svg>", ""])


class _Panel:
    def __init__(self, outcome: Outcome, device: str, top: int, end_s: float) -> None:
        self.device, self.top, self.end_s = device, top, end_s
        self.total = max(1, outcome.totals[device])
        self.spans = {span.attempt: span for span in outcome.spans if span.device == device}
        moments = [one for one in outcome.traces[device].moments if one.at_s <= end_s]
        self.moments = moments[:: -(-len(moments) // COLUMNS) or 1]

    def x(self, at_s: float) -> float:
        return LEFT + (WIDTH - LEFT - 16) * min(at_s, self.end_s) / self.end_s

    def y(self, size: float) -> float:
        return self.top + PANEL * (1 - min(1.0, size / self.total))

    def lines(self) -> Iterator[str]:
        foot, right = self.top + PANEL, WIDTH - 16
        size = f"{self.total / GIB:.0f} GiB"
        yield f'<text x="{LEFT}" y="{self.top - 6}">{escape(self.device)}, {size}</text>'
        yield _path("others", self._edge([one.strangers_bytes for one in self.moments]), foot)
        yield from self._attempts()
        yield f'<path class="total" d="M{LEFT} {self.top}H{right}" stroke-dasharray="5 4"/>'
        yield f'<path class="axis" d="M{LEFT} {self.top}V{foot}H{right}" fill="none"/>'
        for share in (0.0, 0.5, 1.0):
            at = self.y(share * self.total)
            yield _text(LEFT - 6, at + 4, "end", f"{share * self.total / GIB:.4g}")
            yield _text(self.x(share * self.end_s), foot + 16, "middle", _time(share * self.end_s))

    def _edge(self, sizes: Sequence[int]) -> list[tuple[float, float]]:
        points = [
            (self.x(one.at_s), self.y(size)) for one, size in zip(self.moments, sizes, strict=True)
        ]
        return [*points, (self.x(self.end_s), points[-1][1])] if points else []

    def _attempts(self) -> Iterator[str]:
        """Each between what lies below it and its own size, for as long as it was there."""
        edges: dict[str, list[tuple[float, float, float]]] = {}
        for number, moment in enumerate(self.moments):
            until_s = self._until_s(number)
            for attempt, low, high in _stacked(moment):
                over = edges.setdefault(attempt, [])
                over.append((moment.at_s, low, high))
                span = self.spans.get(attempt)
                if span is not None and span.ended_s <= until_s:
                    over.append((span.ended_s, low, high))
        for attempt, edge in edges.items():
            yield self._attempt(self.spans.get(attempt), attempt, edge)

    def _until_s(self, number: int) -> float:
        return self.moments[number + 1].at_s if number + 1 < len(self.moments) else self.end_s

    def _attempt(
        self, span: Span | None, attempt: str, edge: Sequence[tuple[float, float, float]]
    ) -> str:
        upper = [(self.x(at_s), self.y(high)) for at_s, _, high in edge]
        lower = [(self.x(at_s), self.y(low)) for at_s, low, _ in reversed(edge)]
        outline = "L".join(f"{x:.1f} {y:.1f}" for x, y in _bends([*upper, *lower]))
        trial = 0 if span is None else span.trial
        said = (
            attempt if span is None else f"{attempt}, {span.how}, {span.peak_bytes / GIB:.2f} GiB"
        )
        shape = (
            f'<path class="t" fill="{_colour(trial)}" d="M{outline}Z">'
            f"<title>{escape(said)}</title></path>"
        )
        if span is None or span.how != "out of memory":
            return shape
        x, y = upper[-1]
        cross = f"M{x - 4:.1f} {y - 4:.1f}l8 8m0 -8l-8 8"
        return f'{shape}<path class="oom" d="{cross}"/>'


def _colour(trial: int) -> str:
    """As numbers, since not every viewer knows hsl()."""
    rgb = hls_to_rgb(trial * _TURN % 360 / 360, 0.52 + trial % 3 * 0.05, 0.62)
    return "#" + "".join(f"{round(255 * one):02x}" for one in rgb)


def _stacked(moment: Moment) -> Iterator[tuple[str, int, int]]:
    low = moment.strangers_bytes
    for attempt, held in moment.held_bytes.items():
        yield attempt, low, low + held
        low += held


def _bends(points: Sequence[tuple[float, float]]) -> Iterator[tuple[float, float]]:
    """Without those in the middle of a level stretch."""
    for number, (x, y) in enumerate(points):
        around = points[max(0, number - 1) : number + 2]
        if len(around) < 3 or any(abs(other - y) >= 0.05 for _, other in around):
            yield x, y


def _path(name: str, edge: Sequence[tuple[float, float]], foot: float) -> str:
    if not edge:
        return ""
    outline = "L".join(f"{x:.1f} {y:.1f}" for x, y in _bends(edge))
    return f'<path class="{name}" d="M{edge[0][0]:.1f} {foot}L{outline}V{foot}Z"/>'


def _text(x: float, y: float, anchor: str, said: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(said)}</text>'


def _time(seconds: float) -> str:
    if seconds < 7200:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h" if seconds < 172800 else f"{seconds / 86400:.1f} d"
