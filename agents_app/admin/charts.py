"""Bar charts as numbers that a template draws: SVG of our own, with a table beside it for who does not see it."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

WIDTH, HEIGHT = 640, 160
_LEFT, _BOTTOM, _TOP = 56, 20, 8
_MOST_LABELS = 8


@dataclass(frozen=True, slots=True)
class Bar:
    """A rectangle, in the units of the picture. `kind` is the series that it belongs to, and its colour's name."""

    x: float
    y: float
    width: float
    height: float
    kind: str
    title: str


@dataclass(frozen=True, slots=True)
class Label:
    x: float
    y: float
    text: str


@dataclass(frozen=True, slots=True)
class Plot:
    """A chart of stacked bars, and the table of what it shows."""

    id: str
    title: str
    series: tuple[str, ...]
    bars: list[Bar]
    below: list[Label]
    beside: list[Label]
    rows: list[tuple[str, list[str]]]
    width: int = WIDTH
    height: int = HEIGHT
    left: int = _LEFT

    @property
    def is_empty(self) -> bool:
        return not self.bars


def stacked(
    id: str,
    title: str,
    columns: Sequence[tuple[str, Sequence[float]]],
    series: tuple[str, ...],
    say: Callable[[float], str],
) -> Plot:
    """Bars side by side, one for each column, each of as many pieces as there are series.

    `columns`: a name and its values, in the order of `series`; `say` writes a value.
    """
    top = nice(max((sum(values) for _, values in columns), default=0))
    step = (WIDTH - _LEFT) / max(1, len(columns))
    scale = (HEIGHT - _BOTTOM - _TOP) / top
    bars: list[Bar] = []
    below: list[Label] = []
    every = math.ceil(len(columns) / _MOST_LABELS)
    for place, (name, values) in enumerate(columns):
        x, y = _LEFT + place * step + step * 0.15, float(HEIGHT - _BOTTOM)
        for kind, value in zip(series, values, strict=True):
            if value > 0:
                height = max(1.0, value * scale)
                y -= height
                bars.append(Bar(_r(x), _r(y), _r(step * 0.7), _r(height), kind, f"{name}: {say(value)} {kind}"))
        if place % every == 0:
            below.append(Label(_r(_LEFT + (place + 0.5) * step), HEIGHT - 5, name))
    beside = [Label(_LEFT - 6, _r(HEIGHT - _BOTTOM - part * top * scale), say(part * top)) for part in (0, 0.5, 1)]
    rows = [(name, [say(value) for value in values]) for name, values in columns]
    return Plot(id, title, series, bars, below, beside, rows)


def nice(value: float) -> float:
    """The smallest of 1, 2, 4, 5 and 10 times a power of ten that is no smaller: where an axis ends."""
    if value <= 0:
        return 1.0
    power = 10 ** math.floor(math.log10(value))
    return next(factor * power for factor in (1, 2, 4, 5, 10) if factor * power >= value * (1 - 1e-9))


def _r(number: float) -> float:
    return round(number, 1)
