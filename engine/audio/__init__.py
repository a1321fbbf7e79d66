"""A file in, windows of samples out. The contract is ``Decoder``, in decoder.py."""
