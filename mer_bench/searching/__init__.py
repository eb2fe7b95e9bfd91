"""A study: its space, proposals, race, records on disk and page."""
