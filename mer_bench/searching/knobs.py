"""A search space told knob by knob: range, scale, when it is asked, the published value, and why this range.

A space is a function, so it is asked: many drawn points show every branch and what each knob is offered. The reason is
the comment that stands above the knob in the space's source, and it holds for the knobs below it up to the next one.

    suggest(trial) ─► 256 points ─► knobs asked, with which range ─► a knob that is not always asked: under which value
    its source     ─► comments   ─► why
"""

from __future__ import annotations

import ast
import inspect
import io
import tokenize
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from mer_bench import catalog
from mer_bench.searching.space import Drawn, Space, T, hashed, published

LOOKS = 256
FEW = 12
"""A knob with more values than this is no condition: drawn once each, they would tell anything apart."""


@dataclass(frozen=True)
class Range:
    """What a knob is offered: `choices`, or numbers from `low` to `high`, in steps or on a log scale."""

    low: float | None = None
    high: float | None = None
    step: float | None = None
    log: bool = False
    choices: tuple[Any, ...] = ()

    @property
    def words(self) -> str:
        """`1e-4 .. 3e-3` or `add, concat, gated, none`."""
        if self.choices:
            return ", ".join(map(word, self.choices))
        step = f" by {self.step:g}" if self.step not in (None, 1) else ""
        return f"{self.low:.4g} .. {self.high:.4g}{step}"

    @property
    def scale(self) -> str:
        """`log`, `linear` or `choice`."""
        return "choice" if self.choices else "log" if self.log else "linear"


@dataclass(frozen=True)
class Condition:
    """A knob is asked where another one has one of these values."""

    knob: str
    values: tuple[Any, ...]

    @property
    def words(self) -> str:
        """`fusion is add, concat or gated`."""
        *most, last = map(word, self.values)
        return f"{self.knob} is {', '.join(most)}{' or ' if most else ''}{last}"


@dataclass(frozen=True)
class Knob:
    """One knob of a space.

    Attributes:
        name: as in `--set`.
        ranges: what it is offered; several if branches differ.
        condition: when it is asked, None for always.
        sometimes: it is not always asked, and no one knob's values say when.
        published: its value in the published setting.
        source: why this range, or where it is from.
    """

    name: str
    ranges: tuple[Range, ...]
    condition: Condition | None
    sometimes: bool
    published: Any
    source: str

    def as_json(self) -> dict[str, Any]:
        """The `--json` object."""
        return {**asdict(self), "scale": self.ranges[0].scale}

    @property
    def when(self) -> str:
        """Its condition in words; empty for always."""
        return self.condition.words if self.condition else "under some settings" if self.sometimes else ""


class Asked(Drawn):
    """A drawn point that notes what each knob is offered."""

    def __init__(self, number: int) -> None:
        super().__init__(hashed("look", number))
        self.ranges: dict[str, Range] = {}

    def suggest_float(self, name: str, low: float, high: float, **how: Any) -> float:
        """Optuna's signature."""
        self.ranges[name] = Range(low, high, how.get("step"), how.get("log", False))
        return super().suggest_float(name, low, high, **how)

    def suggest_int(self, name: str, low: int, high: int, **how: Any) -> int:
        """Optuna's signature."""
        self.ranges[name] = Range(low, high, how.get("step", 1), how.get("log", False))
        return super().suggest_int(name, low, high, **how)

    def suggest_categorical(self, name: str, choices: Sequence[T]) -> T:
        """Optuna's signature."""
        self.ranges[name] = Range(choices=tuple(choices))
        value: T = super().suggest_categorical(name, choices)
        return value


def listing(names: Sequence[str]) -> list[dict[str, Any]]:
    """What each method's space has: knobs, conditional ones among them, presets."""
    found = []
    for name in names:
        knobs = tell(Space(name, {}))
        conditional = sum(bool(knob.when) for knob in knobs)
        presets = list(catalog.baseline(name).presets)
        found.append({"model": name, "knobs": len(knobs), "conditional": conditional, "presets": presets})
    return found


def tell(space: Space) -> list[Knob]:
    """Every knob of a space, in the order in which they are asked.

    Raises:
        UsageError: the method has no space, or an unknown name.
    """
    points = [_point(space, number) for number in range(LOOKS)]
    usual, why = published(space.model), sources(_text(space))
    order = _order([list(point.ranges) for point in points])
    found = []
    for name in order:
        ranges = dict.fromkeys(point.ranges[name] for point in points if name in point.ranges)
        always = all(name in point.ranges for point in points)
        condition = None if always else _condition(name, order[: order.index(name)], points)
        found.append(
            Knob(name, tuple(ranges), condition, not always and condition is None, usual.get(name), why.get(name, ""))
        )
    return found


def sources(text: str) -> dict[str, str]:
    """Knob -> the comment above it in a space's source; see the module."""
    comments = {}
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT:
            comments[token.start[0]] = token.string.lstrip("# ").rstrip()
    found: dict[str, str] = {}
    for function in ast.walk(ast.parse(text)):
        if isinstance(function, ast.FunctionDef):
            for name, line in _asked_in(function):
                found.setdefault(name, comments.get(line) or _above(comments, function.lineno, line))
    return found


def _above(comments: Mapping[int, str], first: int, line: int) -> str:
    """The last block of comments between two lines, as one text."""
    ends = [at for at in comments if first < at < line]
    if not ends:
        return ""
    start = end = max(ends)
    while start - 1 in comments and start - 1 > first:
        start -= 1
    return " ".join(comments[at] for at in range(start, end + 1))


def _asked_in(function: ast.FunctionDef) -> Iterator[tuple[str, int]]:
    """Knobs that a function names, with their lines."""
    for node in ast.walk(function):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.args:
            name = node.args[0]
            if node.func.attr.startswith("suggest_") and isinstance(name, ast.Constant):
                yield str(name.value), node.lineno


def _text(space: Space) -> str:
    module = inspect.getmodule(space.suggest)
    return inspect.getsource(module) if module else ""


def _point(space: Space, number: int) -> Asked:
    point = Asked(number)
    space(point)
    return point


def _order(asked: Sequence[Sequence[str]]) -> list[str]:
    """All names, each after those it was ever asked after."""
    order: list[str] = []
    for names in sorted(asked, key=len, reverse=True):
        place = 0
        for name in names:
            if name in order:
                place = order.index(name) + 1
            else:
                order.insert(place, name)
                place += 1
    return order


def _condition(name: str, before: Sequence[str], points: Sequence[Asked]) -> Condition | None:
    """The nearest earlier knob whose value alone says whether this one is asked, where that knob is asked itself."""
    for parent in reversed(before):
        here = [point for point in points if parent in point.params]
        if any(name in point.params and parent not in point.params for point in points):
            continue
        if len({point.params[parent] for point in here}) > FEW:
            continue
        there = {point.params[parent] for point in here if name in point.params}
        absent = {point.params[parent] for point in here if name not in point.params}
        if absent and not there & absent:
            choices = here[0].ranges[parent].choices or sorted(there)
            return Condition(parent, tuple(value for value in choices if value in there))
    return None


def word(value: Any) -> str:
    """A value for people."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)
