"""Guess the encoding of bytes that are not UTF-8."""

import codecs

BOM = codecs.BOM_UTF8
# UTF-32 first: its mark begins with that of UTF-16.
MARKS = {
    codecs.BOM_UTF32_LE: "UTF-32",
    codecs.BOM_UTF32_BE: "UTF-32",
    codecs.BOM_UTF16_LE: "UTF-16",
    codecs.BOM_UTF16_BE: "UTF-16",
}
SAMPLE = 4096  # bytes looked at
NEAR = 64  # bytes looked at on both sides of what is not UTF-8


def find_wide_encoding(data: bytes) -> str:
    """Return UTF-16 or UTF-32 if a text with these first bytes is in it, judged by its byte order mark or its NUL
    bytes.
    """
    for mark, name in MARKS.items():
        if data.startswith(mark):
            return name
    sample = data[:SAMPLE]
    if sample.count(0) < 4:  # too few for a pattern
        return ""
    zeros = [column.count(0) / len(column) for column in (sample[i::4] for i in range(4))]
    for low, high in ((0, slice(2, 4)), (3, slice(0, 2))):
        if min(zeros[high]) > 0.9 and zeros[low] < 0.1:
            return "UTF-32"
    even, odd = (zeros[0] + zeros[2]) / 2, (zeros[1] + zeros[3]) / 2
    return "UTF-16" if min(even, odd) < 0.05 and max(even, odd) > 0.3 else ""


def may_be_latin(data: bytes, place: int) -> bool:
    """Return whether the bytes around one that is not UTF-8 are letters and blanks in Latin-1."""
    near = data[max(0, place - NEAR) : place + NEAR].decode("latin-1")
    return all(letter.isprintable() or letter in "\t\n\r\f\xa0\xad" for letter in near)
