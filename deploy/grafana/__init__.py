"""Grafana's dashboards as code, for Grafana 11 and newer: `python -m deploy.grafana` writes deploy/grafana/dashboards.

Operators import the JSON or let Grafana provision it; what is changed is changed here.
"""
