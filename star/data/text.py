"""Text as documents are held: UTF-8 without NUL bytes, lines that end with LF, a newline at the end."""

import codecs

from star.data.encoding import BOM, find_wide_encoding, may_be_latin
from star.errors import UserError

POINTER = b"version https://git-lfs.github.com/spec/"  # how a file begins that Git LFS put in the place of the data
LONGEST = 256 << 20  # bytes of a document that is held whole, such as a line of JSON


def to_document(text: bytes, place: str) -> bytes:
    """Return a text without a byte order mark, with LF for CR LF and for a CR at the end, ending with a newline.

    Raises UserError, which begins with `place`, if it is not UTF-8, holds a NUL byte or is too long.
    """
    check_length(len(text), place)
    text = text.removeprefix(BOM)
    check_text(text, codecs.getincrementaldecoder("utf-8")(), place, final=True)
    text = text.replace(b"\r\n", b"\n")
    if text.endswith(b"\r"):
        return text[:-1] + b"\n"
    return text if text.endswith(b"\n") else text + b"\n"


def check_length(num_bytes: int, place: str) -> None:
    """Raise UserError if a document is too long to be held whole."""
    if num_bytes > LONGEST:
        raise UserError(f"{place} is longer than {LONGEST >> 20} MiB, the limit of one document")


def check_start(data: bytes, name: str) -> None:
    """Raise UserError if the first bytes show that the file is a pointer or is not in UTF-8."""
    if data.startswith(POINTER):
        raise UserError(f"{name} is not the data but a pointer to it by Git LFS; `git lfs pull` fetches the data")
    if find_wide_encoding(data):
        raise not_text(data, name)


def check_text(data: bytes, decoder: codecs.IncrementalDecoder, place: str, final: bool = False) -> None:
    """Raise UserError unless the bytes continue a text in UTF-8 without NUL bytes; a `final` piece ends it."""
    try:
        decoder.decode(data, final)
    except UnicodeDecodeError as error:
        raise not_text(data, place, error) from error
    if b"\0" in data:
        raise not_text(data, place)


def not_text(data: bytes, place: str, error: UnicodeDecodeError | None = None) -> UserError:
    """Return an error that names the encoding of the bytes if it can be guessed."""
    if wide := find_wide_encoding(data):
        return UserError(f"{place} is not text in UTF-8: it is {wide}; convert it to UTF-8")
    if b"\0" in data or error is None:
        return UserError(f"{place} is not text: it holds a NUL byte")
    guess = ", perhaps Latin-1; convert it to UTF-8" if may_be_latin(error.object, error.start) else ""
    return UserError(f"{place} is not text: it is not valid UTF-8{guess}")
