"""Training, one readable script for each kind."""
