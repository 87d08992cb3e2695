"""Encodings of text files: detection, and refusal of files that an encoding decodes to nonsense.

GB18030 decodes nearly any bytes, and a single-byte encoding all, so that a text which decodes is not yet right. Text in
another encoding, or a binary file, shows in characters that Chinese text does not have.
"""

from __future__ import annotations

import codecs
import re
import unicodedata
from collections import Counter
from functools import cache
from pathlib import Path

from hf_adner.data.errors import DataFormatError

CHUNK = 1 << 18
_SAMPLE = 1 << 16
_MARKS = {  # UTF-32 first: its mark begins with that of UTF-16
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
_WIDE = ("utf-32-le", "utf-32-be", "utf-16-le", "utf-16-be")
_CANDIDATES = ("utf-8", *_WIDE, "gb18030", "big5")
_MAX_IMPROBABLE = 0.25
"""Share of improbable characters above which a text is nonsense; Big5 read as GB18030 has 0.6, GBK text below 0.001."""
_MAX_IMPROBABLE_BESIDE_ANOTHER = 0.1
"""The same if another encoding fits."""
_MIN_IMPROBABLE = 3
"""Number of improbable characters below which a text may be right: a name may be of rare hanzi."""
_SEVEN_BIT = ("iso2022_jp", "iso2022_kr", "hz", "utf-7")
"""Encodings whose bytes are all ASCII."""
_FOREIGN = (("euc_jp", ("HIRAGANA", "KATAKANA"), 0.2), ("euc_kr", ("HANGUL SYLLABLE",), 0.95))
"""Encodings with the bytes of common hanzi, their letters, and a share of these that Chinese text does not have."""
_MIN_FOREIGN = 20
_MIN_SEVEN_BIT = 6
_MAX_CONTROLS, _MIN_CONTROLS = 0.3, 32
"""Share and number of control characters above which a file is not text."""
_CONTROL = re.compile(r"[\x00-\x08\x0e-\x1f\x7f-\x9f]")
_LETTERS = frozenset("LM")
_WHITE_SPACE = frozenset("\t\n\v\f\r")


def encoding_of(path: Path, given: str | None = None) -> str:
    """Return the encoding of a file as a Python codec: the given one, or the one that is detected.

    Args:
        path: the file.
        given: the encoding according to the user; a byte order mark is removed in any case.

    Raises:
        DataFormatError: the file is in none of the encodings that can be detected (with the offset of the first invalid
            byte), or decodes to nonsense.
        ValueError: Python does not have the encoding.
    """
    with path.open("rb") as file:
        sample = file.read(_SAMPLE)
    marked = next((encoding for mark, encoding in _MARKS.items() if sample.startswith(mark)), None)
    encoding = check_encoding(given) if given else marked or detect_encoding(path)
    if marked and given:
        if not encoding.startswith(marked.removesuffix("-sig")):
            raise _refusal(path, f"the file begins with the byte order mark of {marked}, which is not {given}")
        encoding = marked
    if not marked:
        _check_characters(path, sample, encoding, is_given=bool(given))
    return encoding


def check_encoding(encoding: str) -> str:
    """Return Python's name of an encoding; for UTF-8, the codec that also accepts a byte order mark.

    Raises:
        ValueError: Python does not have this text encoding.
    """
    try:
        "".encode(encoding)
    except LookupError:
        raise ValueError(f"encoding {encoding!r} is unknown; expected a Python codec such as 'gb18030'") from None
    name = codecs.lookup(encoding).name
    return "utf-8-sig" if name == "utf-8" else name


def detect_encoding(path: Path) -> str:
    """Return the first of UTF-8 and GB18030 that decodes the whole file.

    A UTF-8 file with a few invalid bytes can often be decoded as GB18030, to nonsense. If most characters are valid
    UTF-8, the invalid byte is therefore reported instead.

    Raises:
        DataFormatError: neither fits; names the offset of the first byte that is not UTF-8.
    """
    invalid = _first_invalid_byte(path, "utf-8")
    if invalid is None:
        return "utf-8"
    if not _is_mostly_utf8(path) and _first_invalid_byte(path, "gb18030") is None:
        return "gb18030"
    with path.open("rb") as file:
        other = _probable_encoding(file.read(_SAMPLE), "utf-8")
    if other in _WIDE:
        raise _refusal(path, f"the text is not UTF-8 or GB18030; it reads well as {other}")
    raise invalid_byte(path, "UTF-8 or GB18030", invalid)


def _check_characters(path: Path, sample: bytes, encoding: str, is_given: bool) -> None:
    """Raise if the beginning of a file is nonsense in an encoding."""
    text = _decoded(sample, encoding)
    if text is None:
        return  # an invalid byte is reported with its line when the text is read
    unseen = _unseen_encoding(sample, text)
    if unseen and not is_given:
        raise _refusal(path, f"the text reads well as {unseen}")
    if unseen and _decoded(sample, unseen) == text:
        return
    controls = len(_CONTROL.findall(text))
    is_binary = controls >= _MIN_CONTROLS and controls > _MAX_CONTROLS * len(text)
    is_utf8 = encoding.startswith("utf-8")
    if is_utf8 and not is_binary and text.count("\0") <= 2:
        return
    share, other = improbable_share(text), _probable_encoding(sample, encoding)
    if is_utf8 and not is_binary and other not in _WIDE:
        return
    if other is None:
        is_nonsense = is_binary or (not is_given and share > _MAX_IMPROBABLE and _improbable(text) >= _MIN_IMPROBABLE)
    else:
        is_nonsense = share > _MAX_IMPROBABLE_BESIDE_ANOTHER or (share > 0 and other in _WIDE)
        is_nonsense |= other == "utf-8" and _common_hanzi().isdisjoint(text)
    if is_nonsense:
        hint = f"; it reads well as {other}" if other else ", or the file is not text"
        raise _refusal(path, f"read as {encoding}, the text is nonsense{hint}")


def _refusal(path: Path, reason: str) -> DataFormatError:
    return DataFormatError(f"{reason}; name the encoding of the file: encoding=... (--encoding ...)", path=path)


def _probable_encoding(sample: bytes, encoding: str) -> str | None:
    """Return the first other encoding in which the bytes are text with hardly an improbable character.

    The text is Chinese; of UTF-16 and UTF-32 it may be ASCII too, since its zero bytes are text in no other encoding.
    """
    for candidate in _CANDIDATES:
        text = _decoded(sample, candidate) if not encoding.startswith(candidate) else None
        if text and improbable_share(text) < _MAX_IMPROBABLE / 4:
            if not _common_hanzi().isdisjoint(text) or (candidate in _WIDE and text.isascii()):
                return candidate
    return None


def _unseen_encoding(sample: bytes, text: str) -> str | None:
    """Return the encoding of a text that UTF-8 and GB18030 decode to `text`, of characters that each is probable."""
    if text.isascii():
        return next((each for each in _SEVEN_BIT if _is_written_in(_decoded(sample, each) or "")), None)
    for encoding, scripts, least in _FOREIGN:
        letters = [character for character in _not_ascii(_decoded(sample, encoding) or "") if character.isalpha()]
        found = sum(unicodedata.name(letter, "").startswith(scripts) for letter in letters)
        if len(letters) >= _MIN_FOREIGN and found > least * len(letters):
            return encoding
    return None


def _is_written_in(text: str) -> bool:
    """Return whether a text decoded from ASCII has other letters than those that "+308" or "a+b" happen to make."""
    other = _not_ascii(text)
    is_text = not any(unicodedata.category(character)[0] == "C" for character in other)
    return is_text and len(other) >= _MIN_SEVEN_BIT and len(other) > len(text) / 4


def _not_ascii(text: str) -> str:
    return re.sub(r"[\x00-\x7f]+", "", text)


def _decoded(sample: bytes, encoding: str) -> str | None:
    """Return the text of the beginning of a file, None if a byte is invalid."""
    decoder = codecs.getincrementaldecoder(encoding)()
    try:
        return decoder.decode(sample, final=len(sample) < _SAMPLE)
    except UnicodeError:
        return None


def improbable_share(text: str) -> float:
    """Return the share, 0 to 1, of the characters beyond printable ASCII that Chinese text hardly has.

    These are control, private-use and unassigned characters, hanzi that neither GB2312 nor the first level of Big5 has,
    and letters of other scripts except Latin and Greek.
    """
    return _improbable(text) / max(1, len(re.sub(r"[\t-\r -~]+", "", text)))


def _improbable(text: str) -> int:
    return sum(count for character, count in Counter(text).items() if not _is_probable(character))


@cache
def _is_probable(character: str) -> bool:
    if character.isascii():
        return character.isprintable() or character in _WHITE_SPACE
    category = unicodedata.category(character)
    if category[0] == "C":
        return category == "Cf"
    if category[0] not in _LETTERS or character in _common_hanzi():
        return True
    return unicodedata.name(character, "").startswith(("LATIN", "GREEK", "FULLWIDTH", "IDEOGRAPHIC"))


@cache
def _common_hanzi() -> frozenset[str]:
    trails = bytes(range(0x40, 0xFF))
    levels = (("gb2312", range(0xB0, 0xF8)), ("big5", range(0xA4, 0xC7)))
    return frozenset(
        character
        for encoding, leads in levels
        for lead in leads
        for trail in trails
        if (character := bytes((lead, trail)).decode(encoding, "ignore")) and unicodedata.category(character[0]) == "Lo"
    )


def _first_invalid_byte(path: Path, encoding: str) -> int | None:
    """Return the offset of the first byte that `encoding` cannot decode, or None."""
    decoder = codecs.getincrementaldecoder(encoding)()
    offset = 0
    with path.open("rb") as file:
        while True:
            block = file.read(CHUNK)
            held_back = len(decoder.getstate()[0])
            try:
                decoder.decode(block, final=not block)
            except UnicodeDecodeError as error:
                return offset - held_back + error.start
            if not block:
                return None
            offset += len(block)


def _is_mostly_utf8(path: Path) -> bool:
    """Return whether more of the characters beyond ASCII are valid UTF-8 than invalid."""
    decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
    valid = invalid = 0
    with path.open("rb") as file:
        while block := file.read(CHUNK):
            text = decoder.decode(block)
            invalid += text.count("\ufffd")
            valid += sum(character > "\x7f" for character in text) - text.count("\ufffd")
    return valid > invalid


def invalid_byte(path: Path, encoding: str, offset: int) -> DataFormatError:
    """Return the error for the byte at `offset`; of several encodings ("A or B"), the first counts the lines."""
    with path.open("rb") as file:
        file.seek(offset)
        byte = file.read(1)
    found = f"byte 0x{byte.hex()}" if byte else "the end of the file within a character"
    return DataFormatError(
        f"the text is not {encoding.removesuffix('-sig')}: {found} at byte offset {offset}; "
        "name the encoding of the file: encoding=... (--encoding ...)",
        path=path,
        line=_line_at(path, encoding.split(" or ")[0], offset),
    )


def _line_at(path: Path, encoding: str, offset: int) -> int:
    """Return the line, from 1, of the byte at `offset`."""
    decoder = codecs.getincrementaldecoder(encoding)(errors="replace")
    lines = 1
    with path.open("rb") as file:
        while offset > 0 and (block := file.read(min(CHUNK, offset))):
            lines += decoder.decode(block).count("\n")
            offset -= len(block)
    return lines
