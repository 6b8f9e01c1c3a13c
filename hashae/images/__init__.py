"""From files to the pixels an encoder sees: scan a folder, decode a file, bring it into canonical form."""

from __future__ import annotations

from hashae.images.canonical import CanonicalForm
from hashae.images.decode import DecodedImage, decode, read_bytes
from hashae.images.scan import FoundFile, Problem, scan

__all__ = ["CanonicalForm", "DecodedImage", "FoundFile", "Problem", "decode", "read_bytes", "scan"]
