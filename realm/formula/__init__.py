"""Short answers in LaTeX or plain text, read as values and compared."""
