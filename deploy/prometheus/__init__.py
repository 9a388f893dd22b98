"""Prometheus: its configuration, the rules with their cases, and a server for tests and docs/dashboards.md."""
