"""Write a small DNG: raw values behind a colour filter, and beside them a preview as JPEG, as cameras write it."""

import struct

SHORT, LONG, BYTE, ASCII, RATIONAL = 3, 4, 1, 2, 5
SIZES = {SHORT: 2, LONG: 4, BYTE: 1, ASCII: 1, RATIONAL: 8}
CODES = {SHORT: "H", LONG: "I", BYTE: "B", RATIONAL: "I"}


def dng(preview, preview_size, raw, *, orientation=1, note="x"):
    """Return a DNG.

    Parameters
    ----------
    preview
        A JPEG, as bytes, and its width and height as `preview_size`.
    raw
        Rows of 16-bit values, ``uint16 (height, width)``.
    orientation
        As in EXIF.
    note
        Text beside the pictures: two files with other notes differ in it alone.
    """
    height, width = raw.shape
    pixels = raw.astype("<u2").tobytes()
    head = [
        (254, LONG, [1]),
        (256, LONG, [preview_size[0]]),
        (257, LONG, [preview_size[1]]),
        (258, SHORT, [8, 8, 8]),
        (259, SHORT, [7]),
        (262, SHORT, [6]),
        (270, ASCII, note.encode() + b"\0"),
        (271, ASCII, b"Maker\0"),
        (272, ASCII, b"Camera\0"),
        (273, LONG, ["preview"]),
        (274, SHORT, [orientation]),
        (277, SHORT, [3]),
        (278, LONG, [preview_size[1]]),
        (279, LONG, [len(preview)]),
        (330, LONG, ["raw directory"]),
        (50706, BYTE, [1, 4, 0, 0]),
        (50708, ASCII, b"Maker Camera\0"),
        (50721, RATIONAL, [1, 1, 0, 1, 0, 1, 0, 1, 1, 1, 0, 1, 0, 1, 0, 1, 1, 1]),
        (50728, RATIONAL, [1, 1, 1, 1, 1, 1]),
    ]
    body = [
        (254, LONG, [0]),
        (256, LONG, [width]),
        (257, LONG, [height]),
        (258, SHORT, [16]),
        (259, SHORT, [1]),
        (262, SHORT, [32803]),
        (273, LONG, ["raw"]),
        (277, SHORT, [1]),
        (278, LONG, [height]),
        (279, LONG, [len(pixels)]),
        (33421, SHORT, [2, 2]),
        (33422, BYTE, [0, 1, 1, 2]),
        (50714, SHORT, [0]),
        (50717, LONG, [65535]),
    ]
    start = 8
    after = start + length(head)
    places = {"raw directory": after, "preview": after + length(body)}
    places["raw"] = places["preview"] + len(preview) + len(preview) % 2
    data = b"II*\0" + struct.pack("<I", start) + directory(head, start, places) + directory(body, after, places)
    return data + preview + bytes(len(preview) % 2) + pixels


def length(entries):
    return (
        6 + 12 * len(entries) + sum(len(packed(kind, values, {})) for _, kind, values in entries if long(kind, values))
    )


def long(kind, values):
    return len(packed(kind, values, {})) > 4


def packed(kind, values, places):
    if kind == ASCII:
        return values + bytes(len(values) % 2)
    numbers = [places.get(value, 0) if isinstance(value, str) else value for value in values]
    data = struct.pack(f"<{len(numbers)}{CODES[kind]}", *numbers)
    return data + bytes(len(data) % 2)


def directory(entries, start, places):
    """Return an image file directory at `start`, with the values that do not fit into it behind it."""
    behind = start + 6 + 12 * len(entries)
    made, more = struct.pack("<H", len(entries)), b""
    for tag, kind, values in entries:
        data = packed(kind, values, places)
        count = len(values) // (2 if kind == RATIONAL else 1)
        if len(data) > 4:
            made += struct.pack("<HHII", tag, kind, count, behind + len(more))
            more += data
        else:
            made += struct.pack("<HHI", tag, kind, count) + data.ljust(4, b"\0")
    return made + bytes(4) + more
