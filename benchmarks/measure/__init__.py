"""One case in, its figures out. The contract is ``Row``, in ../row.py."""
