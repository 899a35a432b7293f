"""`python -m repro`: the command line where the package is not installed."""

from repro.cli import main

main(prog_name="repro")
