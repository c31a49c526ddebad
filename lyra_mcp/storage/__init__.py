"""SQLite, one module for each noun; a statement stands in the function that runs it."""
