"""`python -m cnnviz.data mnist` fetches a published data set into the data folder; without a name, lists them all."""

import sys

from cnnviz.data import DATASETS, data_folder, is_here, open
from cnnviz.errors import DataError


def main(names: list[str]) -> int:
    """Fetch the named data sets, or list what there is."""
    try:
        for name in names:
            found = open(name, download=True)
            sys.stdout.write(f"{found.title}: {len(found)} pictures ({found.split}) in {data_folder()}\n")
    except DataError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    if not names:
        for name, info in DATASETS.items():
            sys.stdout.write(f"{name:22}{info.title:36}{'here' if is_here(name) else 'not here'}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
