"""`python -m igpo_operator`: the operator's process."""

import sys

from igpo_operator.main import main

sys.exit(main(sys.argv[1:]))
