"""What the server does: read, decide, write. One verb for each function, one transaction for each write."""
