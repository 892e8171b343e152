"""What each command does, as a function for scripts and notebooks; the command line parses, shows and prints."""
