"""Other people's servers: reached only when a person names one, each behind its optional extra."""
