"""How numbers are written in pictures and sentences: a true minus, a space before % that never breaks, no false zero.

The surprise: a probability of 0.0004 is written "< 0.1", because "0.0 %" would claim that it is nothing.
"""

from __future__ import annotations

import math

MINUS, SPACE, TIMES, DASH = "\N{MINUS SIGN}", "\N{NO-BREAK SPACE}", "\N{MULTIPLICATION SIGN}", "\N{EN DASH}"


def fixed(value: float, digits: int = 2, *, plus: bool = False) -> str:
    """A number with a fixed count of decimals: "−0.31". `plus` writes the sign of positive numbers too."""
    if math.isnan(value):
        return "not a number"
    if math.isinf(value):
        return "infinite" if value > 0 else f"{MINUS}infinite"
    text = f"{abs(value):,.{digits}f}"
    if not any(digit in "123456789" for digit in text):
        return text  # neither −0.00 nor +0.00
    return (MINUS if value < 0 else "+" if plus else "") + text


def short(value: float, digits: int = 3) -> str:
    """A number to `digits` digits wherever its point is: "6.36", "0.0042", "1,240", "3.1e−7"."""
    if value == 0 or not math.isfinite(value):
        return "0" if value == 0 else fixed(value)
    exponent = math.floor(math.log10(abs(float(f"{value:.{digits - 1}e}"))))
    if not -4 <= exponent < 6:
        mantissa, power = f"{abs(value):.{max(digits - 2, 0)}e}".split("e")
        return f"{MINUS if value < 0 else ''}{mantissa}e{MINUS if int(power) < 0 else ''}{abs(int(power))}"
    return fixed(value, max(digits - 1 - exponent, 0))


def percent(share: float, *, unit: bool = True) -> str:
    """A share (0 to 1) in per cent with one decimal, "< 0.1" where that would say 0.0 of something: "74.4 %"."""
    if math.isnan(share):
        return fixed(share)
    text = f"<{SPACE}0.1" if 0 < share < 0.0005 else fixed(100 * share, 1)
    return f"{text}{SPACE}%" if unit else text


def shape(sides: tuple[int, ...]) -> str:
    """A shape as it is read: "16 × 28 × 28"."""
    return f" {TIMES} ".join(str(side) for side in sides)


def span(first: int, end: int) -> str:
    """Rows or columns first to end - 1 (half-open): "17–24", or "17" where it is one."""
    return str(first) if end - first == 1 else f"{first}{DASH}{end - 1}"


def lines(word: str, first: int, end: int) -> str:
    """The same with its noun in the right number: "rows 17–24", or "row 17" where it is one."""
    return f"{word}{'s' * (end - first != 1)} {span(first, end)}"


def listing(words: list[str]) -> str:
    """ "a", "a and b", "a, b and c"."""
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)
