"""The database, step by step: SQL files, applied in order of their names."""
