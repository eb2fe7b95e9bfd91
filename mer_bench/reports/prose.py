"""Numbers and findings as people read them, the same on the screen, on the page and in a paper's table."""

from __future__ import annotations

import math
from collections.abc import Sequence

ALPHA = 0.05
DASH = "–"
TRAINED_ON = {"all training subjects": "all", "training subjects without validation subjects": "without validation"}


def number(value: float | None, signed: bool = False) -> str:
    """Three digits without the leading zero: `.703`, `1.000`, signed `+.052`; a dash for None."""
    if value is None:
        return DASH
    digits = f"{abs(value):.3f}".removeprefix("0")
    negative = value < 0 and digits != ".000"
    return ("-" if negative else "+" if signed else "") + digits


def bounds(low: float, high: float) -> str:
    """An interval: `[.004, .058]`."""
    return f"[{number(low)}, {number(high)}]"


def p_value(p: float | None) -> str:
    """`p = .02`, `p < .001`; a dash for None. Rounding never carries a value over the 5 % line."""
    if p is None:
        return DASH
    if p < 0.001:
        return "p < .001"
    digits = next((d for d in (2, 3) if (round(p, d) < ALPHA) == (p < ALPHA) and (d > 2 or p >= 0.01)), 4)
    shown = p if digits < 4 else math.floor(p * 1e4) / 1e4
    return f"p = {shown:.{digits}f}".replace("= 0.", "= .")


def duration(seconds: float) -> str:
    """`47 s`, `12 min`, `3.1 h`."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def latency(milliseconds: float | None) -> str:
    """`1.2 µs`, `0.42 ms`, `12 ms`, `1.3 s`; a dash for None."""
    if milliseconds is None:
        return DASH
    if milliseconds >= 1000:
        return f"{milliseconds / 1000:.1f} s"
    return (
        f"{milliseconds:.2g} ms"
        if 0.1 <= milliseconds < 99.5
        else f"{milliseconds:.0f} ms"
        if milliseconds >= 1
        else f"{1000 * milliseconds:.2g} µs"
    )


def count(value: int | None) -> str:
    """`811`, `12.3 k`, `1.23 M`, `4.10 G`; a dash for None."""
    if value is None:
        return DASH
    for size, unit, digits in ((1e9, "G", 2), (1e6, "M", 2), (1e4, "k", 1)):
        if value >= size:
            return f"{value / (1e3 if unit == 'k' else size):.{digits}f} {unit}"
    return str(value)


def plural(value: int, noun: str) -> str:
    """`1 trial`, `200 trials`."""
    return f"{value} {noun}" + ("" if value == 1 else "s")


def listed(words: Sequence[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    return " and ".join(filter(None, [", ".join(words[:-1]), *words[-1:]]))


def shown(low: float, high: float, p: float) -> bool:
    """Whether a difference is shown: its interval excludes 0 and the test agrees at 5 %."""
    return p < ALPHA and (low > 0 or high < 0)


def verdict(
    difference: float, low: float, high: float, p: float, *, seed_noise: bool = False, same: bool = False
) -> str:
    """A paired difference in words: `better by .031 UF1 [.004, .058], p = .02 by subjects`.

    It says better or worse only if the interval excludes 0 and the test agrees at 5 %.

    Args:
        difference: ours minus theirs.
        low, high: its 95 % interval over subjects.
        p: of the paired test by subjects, corrected where there are several.
        seed_noise: the seeds alone could make such a difference.
        same: both say the same about every clip.
    """
    if same:
        return "no difference: both say the same about every clip"
    found = shown(low, high, p)
    if found and difference > 0:
        said = f"better by {number(difference)} UF1 {bounds(low, high)}"
    elif found:
        said = f"worse by {number(-difference)} UF1 {bounds(-high, -low)}"
    else:
        said = f"no difference shown: {number(difference, signed=True)} UF1 {bounds(low, high)}"
    noise = "; within seed noise" if seed_noise else ""
    return f"{said}, {p_value(p)} by subjects{noise}"
