"""Tables of summary statistics: one schema, one validator, readers, writers and harmonization."""
