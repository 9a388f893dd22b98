"""How it travels: the Faust app, the batch transport, topics, durable state, dead letters, metrics."""
