"""Measure the daemon next to plain NumPy, and print a table."""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path

from benchmarks.processes import ONE_THREAD, Peer, client_main, numpy_main

MAX_OTHER_LOAD = 0.1
GROUPS = ("session", "many", "chains", "empty", "pass", "framed", "foreign", "program", "parts")


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer and shorter runs: a glance, not a measurement")
    parser.add_argument("--only", action="append", choices=GROUPS, help="measure only this (repeatable)")
    parser.add_argument(
        "--output",
        type=Path,
        default=Path("benchmarks/results/bench.json"),
        metavar="FILE",
        help="[benchmarks/results/bench.json]",
    )
    options = parser.parse_args(arguments)
    for name in ONE_THREAD:
        os.environ[name] = "1"

    from benchmarks import chains, foreign, framed, measures, program  # NumPy reads the variables when it is imported

    groups = options.only or GROUPS
    plan = measures.Plan(10, 3, 1, 16, 20) if options.quick else measures.Plan(10, 7, 5, 16, 100)
    rows: list[measures.Row] = []
    other_load = measures.other_load()
    with ExitStack() as stack:
        measures.progress("making the data")
        client = stack.enter_context(Peer(client_main, plan.n_repetitions))
        numpy = stack.enter_context(Peer(numpy_main, plan.n_repetitions))
        steps: dict[str, tuple[str, Callable[[], list[measures.Row]]]] = {
            "session": ("one session after another", lambda: measures.one_session(plan, client, numpy)),
            "many": ("sessions at once", lambda: measures.many_sessions(plan, client, numpy)),
            "chains": ("other chains", lambda: chains.other_chains(plan, client, numpy)),
            "empty": ("empty sessions", lambda: measures.empty_session(plan, client)),
            "pass": ("pass-through", lambda: measures.pass_through(plan, client)),
            "framed": ("both protocols", lambda: framed.both_protocols(plan, client)),
            "foreign": ("a module in another process", lambda: foreign.external(plan)),
            "program": ("our client program", lambda: program.client_program(plan, numpy)),
            "parts": ("parts", lambda: measures.parts(plan)),
        }
        for group in groups:
            text, measure = steps[group]
            measures.progress(text)
            rows += measure()
    _print_table(rows)
    other_load = max(other_load, measures.other_load())
    if other_load > MAX_OTHER_LOAD:
        print(
            f"\nOther work took {other_load:.0%} of the processors: the ratios suffer, as NumPy needs one of them only."
        )
    _write_json(options.output, rows, is_quick=options.quick, other_load=other_load)
    return 0


def _print_table(rows: Sequence[object]) -> None:
    from benchmarks.measures import Row

    print(f"{'':52}{'result':>10}  {'goal':>10}")
    for row in rows:
        if not isinstance(row, Row):
            continue
        decimals = 0 if row.unit == "MB" else 2
        goal = "" if row.goal is None else f"{'≥' if row.at_least else '≤'} {row.goal:g} {row.unit}"
        result = f"{row.result:.{decimals}f} {row.unit}"
        print(f"{row.name:52}{result:>10}  {goal:>10}  {row.verdict:4}  {row.note}".rstrip())


def _write_json(path: Path, rows: Sequence[object], *, is_quick: bool, other_load: float) -> None:
    import numpy as np

    from benchmarks.measures import Row

    machine = {
        "python": platform.python_version(),
        "numpy": np.__version__,
        "processors": len(os.sched_getaffinity(0)),
        "load_average": os.getloadavg(),
        "other_load": round(other_load, 3),
        "quick": is_quick,
    }
    results = [asdict(row) | {"is_met": row.is_met} for row in rows if isinstance(row, Row)]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"machine": machine, "results": results}, indent=1) + "\n")
    sys.stderr.write(f"written: {path}\n")


if __name__ == "__main__":
    sys.exit(main())
