"""Data in, folders of results out; an interrupted run resumes. run_folder.py says what a folder holds."""
