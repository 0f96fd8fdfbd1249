"""`python -m staff_engine`."""

import sys

from staff_engine.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
