"""Boolean expressions of acquisition flags, `last_in_slice && !is_noise_measurement`, as FlagTriggerGadget has them."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

import ismrmrd

from gadgetron.errors import ConfigurationError

__all__ = ["FLAG_NAMES", "parse_flag_expression"]

Predicate = Callable[[int], bool]

FLAG_NAMES: Final[dict[str, int]] = {
    name.removeprefix("ACQ_").lower(): 1 << (number - 1)
    for name, number in vars(ismrmrd).items()
    if name.startswith("ACQ_") and isinstance(number, int)
}
"""Every flag's name in lower case, with its bit."""

MAX_DEPTH: Final = 64
_TOKEN: Final = re.compile(r"\s*(&&|\|\||[!(),]|[A-Za-z_][A-Za-z0-9_]*|\S)")


def parse_flag_expression(text: str) -> Predicate:
    """Parse an expression of flags.

    Parameters
    ----------
    text
        Flag names, `!` before `&&` before `||`, and parentheses. A comma is an `||`.

    Returns
    -------
        Tells whether an acquisition's flags satisfy it.

    Raises
    ------
    ConfigurationError
        If it is empty, has a flag that does not exist, or cannot be understood; the place is named.

    Notes
    -----
    In the C++ Gadgetron `!` and `&&` reach to the end of the expression: `a && b || c` is `a && (b || c)` there, and
    `!a && b` is `!(a && b)`. With parentheses both programs read the same.
    """
    parser = _Parser(_TOKEN.findall(text))
    predicate = parser.alternatives()
    if parser.next is not None:
        raise ConfigurationError(f"trigger_flags ({text[:64]!r}): {parser.next!r} is not expected there")
    return predicate


class _Parser:
    """Reads tokens, one rule for each precedence."""

    def __init__(self, tokens: list[str]) -> None:
        self._tokens = tokens
        self._position = 0
        self._depth = 0

    @property
    def next(self) -> str | None:
        """The next token, None at the end."""
        return self._tokens[self._position] if self._position < len(self._tokens) else None

    def alternatives(self) -> Predicate:
        """Read terms with || or commas between them."""
        terms = [self._conjunction()]
        while self.next in ("||", ","):
            self._position += 1
            terms.append(self._conjunction())
        return terms[0] if len(terms) == 1 else lambda flags: any(term(flags) for term in terms)

    def _conjunction(self) -> Predicate:
        terms = [self._negation()]
        while self.next == "&&":
            self._position += 1
            terms.append(self._negation())
        return terms[0] if len(terms) == 1 else lambda flags: all(term(flags) for term in terms)

    def _negation(self) -> Predicate:
        token = self.next
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise ConfigurationError(f"trigger_flags: more than {MAX_DEPTH} levels of ! and parentheses")
        if token == "!":  # noqa: S105  # no password
            self._position += 1
            term = self._negation()
            self._depth -= 1
            return lambda flags: not term(flags)
        predicate = self._flag_or_group()
        self._depth -= 1
        return predicate

    def _flag_or_group(self) -> Predicate:
        token = self.next
        self._position += 1
        if token == "(":  # noqa: S105
            inner = self.alternatives()
            if self.next != ")":
                raise ConfigurationError("trigger_flags: a parenthesis is not closed")
            self._position += 1
            return inner
        bit = FLAG_NAMES.get((token or "").lower())
        if bit is None:
            found = "ends too early" if token is None else f"({token[:64]!r}) is no flag"
            raise ConfigurationError(f"trigger_flags {found} — last_in_slice or is_phasecorr_data would be one")
        return lambda flags: bool(flags & bit)
