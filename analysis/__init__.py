"""What a sweep means: transfer by the equations of the paper, tables, and their text. Needs no model, torch or ray."""
