"""The bank: labelled CoTs on disk, and their import from files of others."""
