"""Build step: the wheel carries config/ as package data; everything declarative is in setup.cfg."""

import shutil
from pathlib import Path

from setuptools import setup
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


setup(cmdclass={"build_py": BuildWithConfig})
