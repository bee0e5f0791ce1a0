"""Refuse constructs that run what a peer sent (reliability row R19). Run as ``python -m tests.source_scan FOLDER…``."""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

BANNED_MODULES = {"pickle", "cPickle", "_pickle", "dill", "cloudpickle", "joblib", "marshal", "shelve"}
BANNED_CALLS = {"eval", "exec", "os.system", "os.popen", "yaml.load", "np.prod", "numpy.prod", "time.time"}


def scan_source(source: str, name: str) -> list[str]:
    """Return one line ``file:line: what`` for everything in `source` that is not allowed."""
    return [f"{name}:{line}: {what}" for line, what in sorted(_offences(ast.parse(source, name)))]


def scan_folders(folders: list[Path]) -> list[str]:
    """Return the findings in every Python file below `folders`."""
    files = sorted(file for folder in folders for file in folder.rglob("*.py"))
    return [finding for file in files for finding in scan_source(file.read_text(encoding="utf-8"), str(file))]


def _offences(tree: ast.AST) -> Iterator[tuple[int, str]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (
                (node.lineno, f"import {a.name}") for a in node.names if a.name.partition(".")[0] in BANNED_MODULES
            )
        elif isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] in BANNED_MODULES:
            yield node.lineno, f"from {node.module} import"
        elif isinstance(node, ast.Assert):
            yield node.lineno, "assert: raise a named error instead"
        elif isinstance(node, ast.ExceptHandler) and node.type is None:
            yield node.lineno, "bare except"
        elif isinstance(node, ast.Call):
            yield from _call_offences(node)


def _call_offences(node: ast.Call) -> Iterator[tuple[int, str]]:
    called = ast.unparse(node.func)
    if called in BANNED_CALLS:
        yield node.lineno, f"{called}()"
    for keyword in node.keywords:
        is_false = isinstance(keyword.value, ast.Constant) and keyword.value.value is False
        if keyword.arg in {"shell", "allow_pickle"} and not is_false:
            yield node.lineno, f"{called}({keyword.arg}={ast.unparse(keyword.value)})"


if __name__ == "__main__":
    findings = scan_folders([Path(argument) for argument in sys.argv[1:]])
    sys.stdout.writelines(f"{finding}\n" for finding in findings)
    sys.exit(1 if findings else 0)
