"""What gadgetron.xml says about foreign modules: where their interpreters are, which programs and hosts are allowed."""

from __future__ import annotations

from dataclasses import dataclass

LANGUAGES = ("python", "matlab", "julia")
COMMAND = "command"


@dataclass(frozen=True, slots=True)
class LanguageSettings:
    """How modules in one language are started.

    Attributes
    ----------
    executable
        The interpreter: a path, or a name that is looked up in PATH. None for the usual one.
    working_folder
        Folder in which modules run; None for the server's working directory.
    environment
        (name, value) of variables that are set for them.
    timeout_s
        For how long a module may be waited for without taking or sending anything, even if it works [s]; None for ever.
    """

    executable: str | None = None
    working_folder: str | None = None
    environment: tuple[tuple[str, str], ...] = ()
    timeout_s: float | None = None


@dataclass(frozen=True, slots=True)
class CommandSettings:
    """A program that configurations may start by its name; `arguments` come before those that every module gets."""

    executable: str
    arguments: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ForeignSettings:
    """Everything about foreign modules.

    Attributes
    ----------
    hosts
        Hosts, besides loopback, that a configuration may connect to.
    languages
        (type, settings) pairs.
    commands
        (name, settings) pairs of the programs that `type="command"` may start.
    """

    hosts: tuple[str, ...] = ()
    languages: tuple[tuple[str, LanguageSettings], ...] = ()
    commands: tuple[tuple[str, CommandSettings], ...] = ()

    def language(self, kind: str) -> LanguageSettings:
        """Give the settings of a type; the defaults where there are none."""
        return dict(self.languages).get(kind, LanguageSettings())
