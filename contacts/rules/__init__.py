"""The published rules, each a module of plain functions: what a text or an app's specification says, on plain inputs.

Their numbers stand in the profiles of the same name under contacts/data/profiles/; a function takes another profile
where an office has its own. `contacts.rules.vectors` runs files of test vectors against them.
"""
