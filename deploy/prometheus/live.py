"""What Grafana fills into a query before it asks, so that a query of a panel can be asked of Prometheus as it is."""

from __future__ import annotations

import re
from typing import Final

_FILLED: Final = {"$__rate_interval": "1m", "$__range": "30m", "$__interval": "15s", "$job": ".+", "$instance": ".+"}


def filled_in(query: str, **more: str) -> str:
    """A panel's query with its variables filled in: all jobs and instances; `more` takes precedence, by the variable's
    name without its `$`."""
    values = {**_FILLED, **{f"${name}": value for name, value in more.items()}}
    for name in sorted(values, key=len, reverse=True):
        query = query.replace(name, values[name])
    return query


def filled_in_sql(query: str, venue: str) -> str:
    """A panel's SQL with its variables filled in: this venue, all regions and categories, any time."""
    everything = {
        "${venue:sqlstring}": f"'{venue.replace(chr(39), 2 * chr(39))}'",
        "${region:sqlstring}": "select region from dashboards.venues",
        "${category:sqlstring}": "select category from dashboards.venues",
    }
    for name, value in everything.items():
        query = query.replace(name, value)
    return re.sub(r"\$__timeFilter\((\w+)\)", r"\1 is not null", query)
