"""`python -m lettrine`."""

import sys

from lettrine.cli.app import main

sys.exit(main())
