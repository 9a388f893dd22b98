"""What Grafana fills into a query before it asks, so that a query of a panel can be asked of Prometheus as it is."""

from __future__ import annotations

from typing import Final

_FILLED: Final = {"$__rate_interval": "1m", "$__range": "30m", "$__interval": "15s", "$job": ".+", "$instance": ".+"}


def filled_in(query: str, **more: str) -> str:
    """A panel's query with its variables filled in: all jobs and instances; `more` takes precedence, by the variable's
    name without its `$`."""
    values = {**_FILLED, **{f"${name}": value for name, value in more.items()}}
    for name in sorted(values, key=len, reverse=True):
        query = query.replace(name, values[name])
    return query
