"""A small multilingual world: one meaning, told in seven languages. Pure data and functions."""
