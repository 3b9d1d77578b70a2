"""The command: see `runner.main`."""

import sys

from tests.random_programs.runner import main

sys.exit(main(sys.argv[1:]))
