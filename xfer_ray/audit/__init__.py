"""What is in the data, without a model: how many answers are ASCII (answers.py), what a translation lost (translation.py)."""
