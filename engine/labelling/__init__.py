"""Files in, labels out. The contract is ``LabelBackend``, in contract.py."""
