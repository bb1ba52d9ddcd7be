"""`python -m bench.soak`: the scenarios that take long, because they fill databases with millions of activities."""

import sys

from bench.__main__ import main

if __name__ == "__main__":
    sys.exit(main("soak", sys.argv[1:], long=True))
