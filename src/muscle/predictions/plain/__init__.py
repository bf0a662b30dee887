"""Our own records and the plain tables that users bring: JSON lines, a JSON list, CSV, Parquet, Arrow."""
