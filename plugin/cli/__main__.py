"""`python -m plugin.cli`: the same as `perclip`."""

import sys

from plugin.cli import main

sys.exit(main())
