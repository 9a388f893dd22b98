"""Numbers as data: profiles, stays and the rules of tracing, each with its source."""
