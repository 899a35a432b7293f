"""On the path of a test cluster's processes: runs are a small network's, on a hundred images and in slower epochs.

The changes are those of `prepared`, made as soon as the module that makes runs on a cluster has been imported.
"""

import importlib.util
import os
import sys


class After:
    """Finds one module as everybody does, and changes what it uses when it has been imported."""

    def find_spec(self, name, path=None, target=None):
        if name != "repro.execute.remote":
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        load = spec.loader.exec_module

        def exec_module(module):
            load(module)
            import prepared

            prepared.starts_small()
            prepared.slow_epochs(float(os.environ["REPRO_TEST_EPOCH_S"]))

        spec.loader.exec_module = exec_module
        return spec


sys.meta_path.insert(0, After())
