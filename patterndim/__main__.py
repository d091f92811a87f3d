"""``python -m patterndim`` is the command ``patterndim``."""

import sys

from patterndim.cli import main

sys.exit(main())
