"""All metadata is in setup.cfg; this only swaps FAISS's CPU wheel for its GPU wheel on request.

    pip install -e .                   # faiss-cpu
    SEPP_FAISS=gpu pip install -e .    # faiss-gpu

An extra cannot do it: extras add requirements and never take one away.
"""

import os

from setuptools import Distribution, setup


class WithChosenFaiss(Distribution):
    def parse_config_files(self, *args, **kwargs):
        super().parse_config_files(*args, **kwargs)
        if os.environ.get("SEPP_FAISS", "cpu") == "gpu":
            self.install_requires = [
                name.replace("faiss-cpu", "faiss-gpu") for name in self.install_requires
            ]
            self._finalize_requires()  # else the wheel's metadata keeps the old list


setup(distclass=WithChosenFaiss)
