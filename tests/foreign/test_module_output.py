"""What a foreign process writes, as it is logged and told."""

from __future__ import annotations

from gadgetron.foreign.module_output import readable, without_stacks

STACK = ["Traceback (most recent call last):", '  File "m.py", line 3, in f', "    g()", "    ^^^"]


def test_stacks_are_left_out_and_what_they_end_with_is_kept() -> None:
    lines = ["before", *STACK, "ValueError: no", " indented", "after"]
    assert without_stacks(lines) == ["before", "ValueError: no", " indented", "after"]
    assert without_stacks([*STACK[1:], "ValueError: no"]) == ["ValueError: no"]
    assert without_stacks(STACK) == []


def test_lines_are_readable() -> None:
    assert readable(b"a\tb  \r") == "a       b"
    assert readable(b"\x1b[31mred\x00\x07 \xff") == r"\x1b[31mred\x00\x07" + " �"
    assert len(readable(b"x" * 100_000)) == 1000
