"""`gadgetron_info`: versions and environment, the stock configurations, and what can be set on a gadget or a chain."""

from __future__ import annotations

import argparse
import inspect
import os
import platform
import sys
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from itertools import count
from xml.parsers import expat

from gadgetron import __version__
from gadgetron.cli.lookup import Lookup, add_lookup_options, make_lookup
from gadgetron.configuration.model import GadgetSpec, Node, ParallelSpec, PureStreamSpec
from gadgetron.configuration.parse import parse_configuration
from gadgetron.configuration.search import read_file
from gadgetron.configuration.xml_safe import first_comment
from gadgetron.errors import GadgetronError, UnknownClassError
from gadgetron.gadget import Gadget
from gadgetron.libraries import CLASS_ALIASES, LIBRARIES, class_index
from gadgetron.limits import LIMITS
from gadgetron.message_io import GadgetMessageReader, GadgetMessageWriter
from gadgetron.message_types import message_type_name
from gadgetron.properties import Property, declared_properties, find_property
from gadgetron.property_types import nearest_name
from gadgetron.toolboxes.coil_maps import IS_COMPILED

PACKAGES = ("numpy", "scipy", "pyfftw", "h5py", "ismrmrd", "xmlschema", "structlog", "tqdm", "pillow")
VARIABLES = (
    "GADGETRON_HOME",
    "GADGETRON_CONFIG_DIR",
    "GADGETRON_HOST",
    "GADGETRON_PORT",
    "GADGETRON_WORKING_DIRECTORY",
    "GADGETRON_LOG_LEVEL",
)
SAFE_EXPAT = (2, 6, 0)
WIDTH = 100

_EPILOG = """\
examples:
  gadgetron_info                       versions, environment, configurations
  gadgetron_info default.xml           a chain: each gadget, what is set, what could be
  gadgetron_info ExtractGadget         a gadget's properties: types, defaults, limits
  gadgetron_info gadgetron_mricore ExtractGadget           the same, with its library
  gadgetron_info my_gadgets.Invert --allow my_gadgets      one of your own
"""


def make_parser() -> argparse.ArgumentParser:
    """Make the command line parser."""
    parser = argparse.ArgumentParser(
        prog="gadgetron_info",
        description="Show what this Gadgetron is, what it can run, and what can be set.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("target", nargs="*", help="a configuration (name or file, ending in .xml), or a class")
    parser.add_argument("--version", action="version", version=f"gadgetron {__version__}")
    add_lookup_options(parser)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the program; returns its exit status."""
    parser = make_parser()
    options = parser.parse_args(arguments)
    if len(options.target) > 2:
        parser.error("expected nothing, a configuration, a class, or a library and a class")
    try:
        lookup = make_lookup(options)
        if not options.target:
            lines = overview(lookup)
        elif len(options.target) == 1 and options.target[0].endswith(".xml"):
            lines = describe_configuration(options.target[0], lookup)
        else:
            lines = describe_class(find_class(options.target, lookup))
        print("\n".join(lines))
    except GadgetronError as err:
        print(f"gadgetron_info: {err}", file=sys.stderr)
        return 2
    except BrokenPipeError:  # the reader of a pipe, `head` say, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


def overview(lookup: Lookup) -> Iterator[str]:
    """Give versions, environment and configurations, line by line."""
    yield f"gadgetron {__version__}"
    yield f"  {'Python':<12}{platform.python_version()} ({sys.executable})"
    for package in PACKAGES:
        yield f"  {package:<12}{_version(package)}"
    advice = (
        "" if expat.version_info >= SAFE_EXPAT else "  before 2.6.0: known weaknesses, which our parser works around"
    )
    yield f"  {'expat':<12}{'.'.join(map(str, expat.version_info))}{advice}"
    yield f"  {'CPU cores':<12}{os.cpu_count()}"
    yield f"  {'coil maps':<12}{'compiled' if IS_COMPILED else 'NumPy: slower; there was no C compiler'}"
    yield ""
    yield "environment"
    for name in VARIABLES:
        yield f"  {name:<30}{os.environ.get(name, '(not set)')}"
    yield ""
    yield "configurations are looked for in"
    for folder in lookup.search.folders:
        yield f"  {folder}{'' if folder.is_dir() else '  (not there)'}"
    yield f"  gadgetron.xml: {lookup.search.global_file() or 'none'}"
    yield from (f"  {notice}" for notice in lookup.global_configuration.notices)
    yield ""
    yield f"classes are loaded from modules below {', '.join(lookup.loader.allowed_prefixes)}"
    yield ""
    yield "configurations (gadgetron_info NAME shows one)"
    for name in lookup.search.names():
        comment = first_comment(read_file(lookup.search.find(name), name), max_bytes=LIMITS.max_config_bytes)
        yield from _entry(name, comment)
    for name, file in lookup.global_configuration.aliases:
        yield from _entry(name, f"another name for {file}")


def describe_configuration(target: str, lookup: Lookup) -> Iterator[str]:
    """Give a chain, with what is set on its gadgets and what could be, line by line.

    Raises
    ------
    GadgetronError
        If the configuration cannot be read. Classes that cannot be loaded are shown as such.
    """
    name, document = lookup.read(target)
    configuration = parse_configuration(document, name)
    yield name
    yield from textwrap.wrap(first_comment(document, max_bytes=LIMITS.max_config_bytes), WIDTH)
    for kind, specs in (("reader", configuration.readers), ("writer", configuration.writers)):
        for spec in specs:
            slot = "" if spec.slot is None else f"{spec.slot} "
            yield f"{kind} {slot}{spec.classname}{f' of {spec.dll}' if spec.dll else ''}"
    if not configuration.gadgets:
        yield "no gadgets: what comes in goes out"
    yield from _describe_nodes(configuration.nodes, count(1), lookup)


def _describe_nodes(nodes: Sequence[Node], positions: Iterator[int], lookup: Lookup) -> Iterator[str]:
    for node in nodes:
        if isinstance(node, GadgetSpec):
            yield ""
            yield from _describe_configured(next(positions), node, lookup)
        elif isinstance(node, PureStreamSpec):
            yield ""
            threads = "as many threads as there are processors" if not node.workers else f"{node.workers} threads"
            yield f"in {'one thread' if node.workers == 1 else threads}:"
            yield from _describe_nodes(node.gadgets, positions, lookup)
        elif isinstance(node, ParallelSpec):
            keys = ", ".join(key for key, _ in node.streams)
            yield ""
            yield f"streams side by side ({keys}), from their branch"
            yield from _describe_nodes([node.branch], positions, lookup)
            for key, stream in node.streams:
                yield ""
                yield f"stream {key}{':' if stream else ': a plain wire'}"
                yield from _describe_nodes(stream, positions, lookup)
            yield ""
            yield f"end of the streams {keys}, in their merge"
            yield from _describe_nodes([node.merge], positions, lookup)


def _describe_configured(position: int, gadget: GadgetSpec, lookup: Lookup) -> Iterator[str]:
    try:
        cls = lookup.loader.load_gadget(gadget.dll, gadget.classname)
    except UnknownClassError as err:
        yield f"{position}. {gadget.name}: {err}"
        return
    yield f"{position}. {gadget.name}{'' if gadget.name == cls.__name__ else f', a {cls.__name__}'}: {_first_line(cls)}"
    configured: dict[str, str] = {}
    for name, text in gadget.properties:
        found = find_property(cls, name)
        configured[found.name if found is not None else name] = text
    own = {name: declared for name, declared in declared_properties(cls).items() if _is_own(name) or name in configured}
    yield from _properties(own, configured)
    yield from (f"     {name} = {text}  (undeclared)" for name, text in configured.items() if name not in own)


def describe_class(cls: type) -> Iterator[str]:
    """Give what a class is, takes, emits and can be told, line by line."""
    yield f"{cls.__name__}  ({cls.__module__}.{cls.__name__})"
    yield from textwrap.indent(inspect.cleandoc(cls.__doc__ or "Undocumented."), "  ").splitlines()
    yield ""
    if issubclass(cls, Gadget):
        yield f"  takes    {_types(cls.accepts)}"
        yield f"  emits    {'the same' if cls.emits is None else _types(cls.emits) or 'nothing downstream'}"
        yield f"  threads  {'several at once' if cls.thread_safe else 'one message at a time'}"
        declared = declared_properties(cls)
        yield ""
        yield "  properties"
        yield from _properties({name: value for name, value in declared.items() if _is_own(name)}, {})
        if cls.accepts_any_property:
            yield "     any other name is accepted, too"
        yield "  properties of every gadget"
        yield from _properties({name: value for name, value in declared.items() if not _is_own(name)}, {})
    elif issubclass(cls, GadgetMessageReader):
        yield f"  reads message {int(cls.slot)}, makes {_types(cls.emits)}"
    elif issubclass(cls, GadgetMessageWriter):
        yield f"  for slot {int(cls.slot)}, writes {_types(cls.accepts)}"


def find_class(target: Sequence[str], lookup: Lookup) -> type:
    """Find a gadget, reader or writer by `classname` or by `dll classname`.

    Raises
    ------
    UnknownClassError
        If there is none of that name.
    """
    classname = target[-1]
    libraries = [target[0]] if len(target) == 2 else [""] if "." in classname else list(LIBRARIES)
    known = {name for packages in LIBRARIES.values() for package in packages for name in class_index(package)}
    problems: list[UnknownClassError] = []
    for dll in libraries:
        for load in (lookup.loader.load_gadget, lookup.loader.load_reader, lookup.loader.load_writer):
            try:
                return load(dll, classname)
            except UnknownClassError as err:
                problems.append(err)
    if len(libraries) == 1:
        raise problems[0]
    near = nearest_name(classname, known | set(CLASS_ALIASES), ending="Gadget")
    raise UnknownClassError(
        f"nothing is called {classname}{f'; did you mean {near}?' if near else ''} "
        "(give a dotted name, and --allow its prefix, for a class of your own; a configuration's name ends in .xml)"
    )


def _properties(properties: Mapping[str, Property[object]], configured: Mapping[str, str]) -> Iterator[str]:
    if not properties:
        yield "     (no properties of its own)"
    for name, declared in properties.items():
        facts = [declared.type_name, declared.limits_text]
        if name in configured:
            facts.append(f"set here, the default is {_shown(declared.default_text)}")
        yield f"     {name} = {_shown(configured.get(name, declared.default_text))}"
        text = f"{declared.doc} ({'; '.join(fact for fact in facts if fact)})".strip()
        yield from textwrap.wrap(text, WIDTH, initial_indent=" " * 9, subsequent_indent=" " * 9)


def _is_own(name: str) -> bool:
    """Tell whether a property is a gadget's own, and not one that all gadgets have."""
    return name not in declared_properties(Gadget)


def _shown(text: str) -> str:
    return text or '""'


def _types(kinds: Sequence[tuple[object, ...]]) -> str:
    return " or ".join(message_type_name(kind) for kind in kinds)


def _first_line(cls: type) -> str:
    return (cls.__doc__ or "Undocumented.").strip().splitlines()[0]


def _entry(name: str, text: str) -> Iterator[str]:
    yield f"  {name}"
    yield from textwrap.wrap(text, WIDTH, initial_indent=" " * 6, subsequent_indent=" " * 6)


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


if __name__ == "__main__":
    sys.exit(main())
