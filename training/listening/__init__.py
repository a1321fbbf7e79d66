"""Which songs are worth a label, and the page on which they get it by listening."""
