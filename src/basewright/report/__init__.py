"""The report of a build: one page of everything that was found and proven, from the records alone."""
