"""The words both processes speak: vocabulary, wire messages, SQL. No behaviour lives here."""
