"""The report for machines and for writing up: the same content as the page, as JSON, tables and text."""
