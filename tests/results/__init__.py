"""The contract that every result keeps."""
