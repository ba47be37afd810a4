"""`ddf-seg depth` under its name in the checkout."""

import sys

from ddf_seg.cli.depth import main
from ddf_seg.command_line import show_usage_errors

if __name__ == '__main__':
    sys.exit(show_usage_errors(main))
