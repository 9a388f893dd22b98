"""The chaos harness: seeded faults under load on Apache Kafka, and a judge that holds everything against the oracle."""
