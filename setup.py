"""Build step: the wheel carries config/ as package data; everything declarative is in setup.cfg."""

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).parent


class BuildWithConfig(build_py):
    """Copy config/ to gadgetron/_config; an editable install uses the checkout's config/ itself."""

    def run(self):
        super().run()
        if not getattr(self, "editable_mode", False):
            target = Path(self.build_lib, "gadgetron", "_config")
            shutil.rmtree(target, ignore_errors=True)  # an earlier build's files would travel along
            shutil.copytree(ROOT / "config", target)

    def get_outputs(self, include_bytecode=1):
        config = ROOT / "config"
        target = Path(self.build_lib, "gadgetron", "_config")
        copied = [str(target / file.relative_to(config)) for file in config.rglob("*") if file.is_file()]
        return super().get_outputs(include_bytecode) + ([] if getattr(self, "editable_mode", False) else copied)


setup(cmdclass={"build_py": BuildWithConfig})
