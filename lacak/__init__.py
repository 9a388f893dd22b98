"""The `lacak` command: where the parts are put together."""
