"""Teachers, the guidance they are given, and the collection of their CoTs into a bank."""
