"""What a finished run becomes for people and programs that know nothing of this project."""
