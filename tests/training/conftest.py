"""Makes ``toy``, which the tests of this folder train, importable here and in processes of their own."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
