"""One command's work: data to folders of results, which resume. run_folder.py says what a folder holds."""
