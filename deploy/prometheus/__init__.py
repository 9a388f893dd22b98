"""Prometheus: its configuration, the rules with their cases, and a server of it for tests and for docs/dashboards.md."""
