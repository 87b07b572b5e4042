"""The command line: ``cellfx train --config configs/tcvae.py``, the same as ``bin/train`` in a clone."""

import difflib
import importlib
import sys
from collections.abc import Sequence

COMMANDS = {
    "train": "train a model as a config file describes it",
    "study": "run a published study, from images to its report",
    "evaluate": "measure a finished run",
    "embed": "write the latents of every image to a table",
    "profile": "turn features into treatment profiles and score them",
    "traverse": "draw what each latent does",
    "prepare": "read a data set once and store it ready for training",
    "tune": "search hyperparameters, many runs at once",
    "attack": "attack the classifiers of a finished study",
    "benchmark": "measure compile time, images per second and memory",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command by its name.

    Args:
        argv: the command's name and its arguments; those of the process where None.

    Returns:
        The command's exit status; 2 for an unknown command.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    if not arguments or arguments[0] in ("-h", "-help", "--help", "help"):
        listing = "\n".join(f"  {name:11}{text}" for name, text in COMMANDS.items())
        print(f"{__doc__.strip()}\n\nCommands:\n{listing}\n\ncellfx COMMAND --help tells more.")
        return 0
    name, *rest = arguments
    if name not in COMMANDS:
        near = difflib.get_close_matches(name, COMMANDS, 1)
        advice = f"did you mean {near[0]}?" if near else f"expected one of {', '.join(COMMANDS)}"
        print(f"cellfx: unknown command {name}; {advice}", file=sys.stderr)
        return 2
    return importlib.import_module(f"cellfx.cli.{name}").main(rest)
