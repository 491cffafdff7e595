"""`python -m local`: start, stop and look at the embedded cluster."""

from local.cli import main

if __name__ == "__main__":
    main()
