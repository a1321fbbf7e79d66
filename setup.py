"""What pyproject.toml cannot say: a wheel holds what the source holds now.

setuptools packs all of build/lib, and a build folder of an earlier version still has the files that were
deleted or moved since.
"""

import shutil

from setuptools import setup
from setuptools.command.build import build


class CleanBuild(build):
    def run(self) -> None:
        shutil.rmtree(self.build_lib, ignore_errors=True)
        super().run()


setup(cmdclass={"build": CleanBuild})
