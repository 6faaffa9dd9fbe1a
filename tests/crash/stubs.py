"""The contract's stubs and the clients of the conformance tests, for a program that is no pytest.

Importing this generates the stubs anew, as those tests do.
"""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "conformance"))

# A conftest is no module to import by that name: each folder has one.
_SOURCE = pathlib.Path(__file__).resolve().parents[1] / "conformance" / "conftest.py"


def _generate():
    import importlib.util  # only here: nothing else loads a module by its path
    spec = importlib.util.spec_from_file_location("conformance_conftest", _SOURCE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


conformance = _generate()
