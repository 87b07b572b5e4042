"""``python -m cellfx``: the command line where no script is installed."""

from cellfx.cli import main

raise SystemExit(main())
