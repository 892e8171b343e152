"""CoTs of others into a bank, and out of it: JSONL, Parquet and conversations of many shapes."""
