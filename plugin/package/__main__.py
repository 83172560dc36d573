"""`python -m perclip`: the same as `perclip`."""

import sys

from plugin.cli import main

if __name__ == "__main__":
    sys.exit(main())
