"""The version of this package, from which its metadata are made."""

__version__ = "0.1.0"
