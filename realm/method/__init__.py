"""What ReaLM is (arXiv 2508.12387), as pure functions on the standard library: no torch, no files, no clock."""
