"""The rows of the files that a run leaves: whatever writes them and whatever reads them shares these types."""
