"""Servers and how to run them: embedded, Apache Kafka, compose, migrations."""
