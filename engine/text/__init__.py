"""What leaves the program as text, escaped for the place where it will be shown."""
