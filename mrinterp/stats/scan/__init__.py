"""Effects of many doses on very many traits: products of blocks, errors without an array of traits by traits."""
