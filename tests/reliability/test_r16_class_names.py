"""R16: hostile class names are refused before anything is imported for them, and nothing is executed."""

from __future__ import annotations

import sys

import pytest

from gadgetron.errors import UnknownClassError
from gadgetron.libraries import class_index
from gadgetron.loader import Loader, is_below
from tests.reliability.audit import recorded

DOTTED = [
    "os.system", "os.path.join", "os", "posix.system", "subprocess.Popen", "subprocess.call", "subprocess.run",
    "builtins.eval", "builtins.exec", "builtins.__import__", "builtins.object", "importlib.import_module",
    "runpy.run_path", "pty.spawn", "ctypes.CDLL", "shutil.rmtree", "socket.socket", "pickle.loads", "code.interact",
    "antigravity.X", "this.X", "idlelib.idle.X", "turtle.Turtle", "tkinter.Tk", "webbrowser.open", "http.server.X",
    "gadgets.x.os", "gadgets.mri_core.extract.os.system", "gadgets.mri_core.extract.np", "gadgets.os.system",
    "gadgets.mri_core.__init__.X", "gadgets.__init__.os", "gadgets.__class__",
    "gadgets.mri_core.extract.__builtins__", "gadgets.mri_core.extract.__loader__",
    "gadgets.mri_core.extract.Extract.__init__", "__main__.X", "__builtin__.eval", "readers_writers.text.U16",
    "readers_writers.text.TYPE_CHECKING", "readers_writers..os", ".os.system", "os.system.", "gadgets", "gadgets.",
    "gadgets.mri_core", "gadgetsevil.X", "gadgets_evil.module.X", "gadgetron.server.GadgetServerAcceptor",
    "gadgetron.gadget.Gadget", "gadgetron.cli.daemon.main", "gadgetron.loader.Loader", "tests.conftest.X", "setup.X",
    "gadgets/mri_core/extract.ExtractGadget", "../../evil.X", "gadgets.mri_core.extract.ExtractGadget()",
    "lambda: 0", "gadgets.mri_core.extract.ExtractGadget\n", "gadgets.mri_core.extract\0.X",
    "gаdgets.mri_core.extract.ExtractGadget", "import os", "gadgets.import.X", "gadgets." + "a." * 500 + "X", "",
    " ", "🐍.X",
]  # fmt: skip
IN_A_LIBRARY = [
    ("os", "system"), ("subprocess", "Popen"), ("builtins", "eval"), ("/lib/libc.so.6", "system"),
    ("libc.so.6", "system"), ("../gadgets", "X"), ("gadgets.mri_core.extract.os", "system"),
    ("gadgetron_mricore", "os"), ("gadgetron_mricore", "__class__"), ("gadgetron_mricore;import os", "X"),
    ("antigravity", "X"), ("gadgetron", "GadgetServerAcceptor"),
]  # fmt: skip
NAMES = [("", name) for name in DOTTED] + IN_A_LIBRARY
ALLOWED = ("gadgets", "readers_writers")
EXECUTIONS = (
    "os.system",
    "subprocess.Popen",
    "os.exec",
    "os.posix_spawn",
    "os.fork",
    "exec",
    "compile",
    "webbrowser.open",
)


def test_r16_there_are_enough_cases():
    assert len(NAMES) >= 60


@pytest.mark.parametrize("kind", ["gadget", "reader", "writer"])
@pytest.mark.parametrize(("dll", "classname"), NAMES, ids=range(len(NAMES)))
def test_r16_nothing_foreign_is_imported_or_executed(kind, dll, classname):
    load = getattr(Loader(), f"load_{kind}")
    for module in (
        "gadgets",
        "gadgets.mri_core",
        "gadgets.mri_core.extract",
        "readers_writers",
        "readers_writers.text",
    ):
        __import__(module)  # ours may be imported, with what they need: not what is looked for here
    class_index("gadgets.mri_core"), class_index("readers_writers")
    before = set(sys.modules)
    with recorded("import", *EXECUTIONS) as events:
        if classname.endswith("\n"):  # white space around a name in XML is no part of it
            if kind == "gadget":
                assert load(dll, classname).__name__ == "ExtractGadget"
            return
        with pytest.raises(UnknownClassError) as caught:
            load(dll, classname)
    foreign = [args[0] for event, args in events if event == "import" and not is_below(str(args[0]), ALLOWED)]
    assert foreign == []
    assert [event for event, _ in events if event in EXECUTIONS] == []
    assert {name for name in set(sys.modules) - before if not is_below(name, ALLOWED)} == set()
    text = caught.value.client_text
    assert text.isascii() or "…" in text
    assert len(text) < 500
