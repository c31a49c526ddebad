"""What finds private data in a text: one module for each family of it, all linear in the text's length."""
