"""An import-linter contract that lists what a room may import, as the table of rooms in the architecture does."""

import sys

from grimp import ImportGraph
from importlinter import Contract, ContractCheck, fields, output

OURS = ("gadgetron", "gadgets", "readers_writers")


class OnlyImports(Contract):
    """A room imports itself, what is listed, and the standard library.

    Options
    -------
    room
        The package the law is about, with everything below it.
    ours
        Modules of the project that it may import; ``name.*`` means with everything below it.
    theirs
        Installed packages that it may import; absent means any.
    not_these
        Modules of the standard library that it may not import.
    """

    type_name = "only_imports"

    room = fields.StringField()
    ours = fields.SetField(subfield=fields.StringField(), required=False)
    theirs = fields.SetField(subfield=fields.StringField(), required=False)
    not_these = fields.SetField(subfield=fields.StringField(), required=False)

    def check(self, graph: ImportGraph, verbose: bool) -> ContractCheck:
        modules = {self.room} | graph.find_descendants(self.room) if self.room in graph.modules else set()
        broken = [
            (importer, imported)
            for importer in sorted(modules)
            for imported in sorted(graph.find_modules_directly_imported_by(importer))
            if not self._is_allowed(imported)
        ]
        return ContractCheck(kept=not broken, metadata={"broken": broken})

    def _is_allowed(self, imported: str) -> bool:
        top = imported.partition(".")[0]
        if top in OURS:
            return any(_matches(imported, pattern) for pattern in (f"{self.room}.*", *(self.ours or ())))
        if top in sys.stdlib_module_names:
            return top not in (self.not_these or ())
        return self.theirs is None or top in self.theirs

    def render_broken_contract(self, check: ContractCheck) -> None:
        for importer, imported in check.metadata["broken"]:
            output.print_error(f"{importer} may not import {imported}", bold=False)


def _matches(name: str, pattern: str) -> bool:
    if pattern.endswith(".*"):
        return name == pattern[:-2] or name.startswith(pattern[:-1])
    return name == pattern
