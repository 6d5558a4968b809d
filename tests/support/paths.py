"""Where the tests and the project stand, for those who read files or begin other processes."""

import os
from pathlib import Path

TESTS = Path(__file__).parent.parent
ROOT = TESTS.parent


def importing(*folders: Path) -> dict[str, str]:
    """Give the environment of a process that can import `support`, and the test files in these folders."""
    return os.environ | {"PYTHONPATH": os.pathsep.join(map(str, (TESTS, *folders)))}
