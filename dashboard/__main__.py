"""`python -m dashboard`; `python /path/to/dashboard` works from any folder too."""

import sys
from pathlib import Path


def start():
    """Start the server, or say in one sentence what is missing.

    The checks stand before every import, so that an old Python reads a sentence instead of a syntax error.
    """
    if sys.version_info < (3, 11):  # noqa: UP036
        sys.exit("cnnviz needs Python 3.11 or newer; this is Python %d.%d." % sys.version_info[:2])  # noqa: UP031
    if not __package__:
        sys.path[0] = str(Path(__file__).resolve().parent.parent)
    try:
        from dashboard.server import main

        return main()
    except ModuleNotFoundError as missing:
        if (missing.name or "").split(".")[0] in ("cnnviz", "dashboard"):
            raise
        sys.exit(f"The package {missing.name} is not installed; run: pip install -r requirements.txt")
    except KeyboardInterrupt:
        return 0


if __name__ == "__main__":
    sys.exit(start())
