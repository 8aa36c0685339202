"""`python -m basewright.cli`, the same as `basewright`."""

from basewright.cli.main import main

main()
