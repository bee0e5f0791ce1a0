"""Build steps: config/ becomes package data, and C is compiled; everything declarative is in setup.cfg."""

import shutil
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).parent


class BuildWithConfig(build_py):
    """Copy config/ to gadgetron/_config; an editable install uses the checkout's config/ itself."""

    def run(self):
        if getattr(self, "editable_mode", False):
            super().run()
            return
        shutil.rmtree(self.build_lib, ignore_errors=True)  # what an earlier build left would travel along
        super().run()
        shutil.copytree(ROOT / "config", Path(self.build_lib, "gadgetron", "_config"))

    def get_outputs(self, include_bytecode=1):
        config = ROOT / "config"
        target = Path(self.build_lib, "gadgetron", "_config")
        copied = [str(target / file.relative_to(config)) for file in config.rglob("*") if file.is_file()]
        return super().get_outputs(include_bytecode) + ([] if getattr(self, "editable_mode", False) else copied)


COIL_MAPS = Extension(
    "gadgetron.toolboxes._coil_maps",
    ["gadgetron/toolboxes/_coil_maps.c"],
    extra_compile_args=["-O3", "-fno-math-errno", "-Wno-psabi", "-Werror=implicit-function-declaration"],
    py_limited_api=True,
    optional=True,  # without a C compiler NumPy does the work
)

setup(
    cmdclass={"build_py": BuildWithConfig},
    ext_modules=[COIL_MAPS],
    options={"bdist_wheel": {"py_limited_api": "cp311"}},
)
