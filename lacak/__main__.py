"""`python -m lacak` is the `lacak` command."""

from lacak.main import main

main()
