"""Machine translation of a training set, and finding the answers again. translator.py says what a translator is."""
