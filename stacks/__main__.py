"""`python -m stacks`."""

from stacks.cli import main

main()
