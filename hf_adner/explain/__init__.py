"""Which characters, and which words of the lexicon, spoke for an entity."""
