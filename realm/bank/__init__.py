"""The bank: questions with their labelled CoTs, in a folder and in memory."""
