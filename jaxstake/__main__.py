"""`python -m jaxstake` is the command line."""

from jaxstake.cli.main import main

main()
