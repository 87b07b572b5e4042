"""Makes ``toy`` importable: the model that the tests of this folder train, also run by a script in a process of its own."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
