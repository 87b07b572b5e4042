"""``python -m cellfx``, the same as the command ``cellfx``."""

from cellfx.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
