"""`python -m ddf_seg COMMAND …` is `ddf-seg COMMAND …`."""

import sys

from .cli import main

if __name__ == '__main__':
    sys.exit(main())
