"""The thinking: visits, the visit index, profiles, contacts. Pure Python and numpy, no I/O, no clock."""
