"""Base or instruct, from evidence: files, behaviour, and a decision that says how sure it is."""
