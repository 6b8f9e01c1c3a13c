"""A number of bytes in words."""

from __future__ import annotations


def human_size(size: int) -> str:
    """Return a number of bytes the way file managers write it, in powers of 1000.

    Examples
    --------
    >>> human_size(950), human_size(1_300_000), human_size(999_999)
    ('950 bytes', '1.3 MB', '1.0 MB')
    """
    if abs(size) < 1000:
        return "1 byte" if size == 1 else f"{size} bytes"
    value = float(size)
    for unit in ("kB", "MB", "GB"):
        value /= 1000
        # what would be rounded up to 1000.0 belongs to the next unit
        if abs(value) < 999.95:
            return f"{value:.1f} {unit}"
    return f"{value / 1000:,.1f} TB"
