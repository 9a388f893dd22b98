"""Bad input by the million: every topic and endpoint is sent what is no message, and everything must be accounted for.

`python -m tests.flood --help`; docs/bad-input.md has the counts of the last run.
"""
