"""What each part of the method is worth: the same scenes with parts left out, changed, or replaced by the truth."""
