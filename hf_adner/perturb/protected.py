"""Words and figures that perturbations must not change, as the meaning of a clinical text depends on them.

`protected_spans` finds them; `ClosedSpans` tests whether an edit touches them or an entity.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache

from hf_adner.data.records import CharacterRange, Document
from hf_adner.perturb.reading import simplified

NEGATIONS = (
    "否认 未见 未及 未触及 未闻及 未闻 未予 未曾 从未 并未 尚未 未 没有 没 无 不 非 "
    "排除 除外 阴性 阳性 缺乏 缺如 勿 忌 禁"
).split()
"""Chinese words that negate, exclude or report a test result."""

LATERALITIES = "双侧 两侧 单侧 一侧 患侧 健侧 对侧 同侧 内侧 外侧 左 右 双".split()
"""Chinese words for the side of the body."""

ENGLISH_NEGATIONS = (
    "no not none nor neither never without denies denied deny denying negative positive absent absence cannot "
    "excluded excludes exclude unremarkable"
).split()
"""English words that negate, exclude or report a test result; also ``n't``, ``rule out`` and ``free of``."""

ENGLISH_LATERALITIES = "left right bilateral bilaterally unilateral unilaterally ipsilateral contralateral".split()
"""English words for the side of the body."""

_DIGIT = "[0-9０-９]"
# possessive and anchored: a long run of digits is scanned once, not once from every digit
_NUMBER = rf"{_DIGIT}++(?:[.．,]{_DIGIT}++)*+"
_RANGE = rf"(?<!{_DIGIT}){_NUMBER}(?:\s?[-~～－–—至到/／×xX*^:：]\s?{_NUMBER})*+"
_HAN_DIGIT = "[零〇一二两三四五六七八九十百千万半数几]"
_HAN_NUMBER = f"(?<!{_HAN_DIGIT}){_HAN_DIGIT}++"
_HAN_UNIT = (
    "个半月|个多月|个月|个小时|个疗程|疗程|小时|分钟|秒钟|星期|礼拜|毫克|微克|千克|公斤|毫升|厘米|毫米|毫摩尔|国际单位|单位|"
    "年半|余年|多年|余天|余月|周岁|年|月|周|日|号|天|时|点|分|秒|岁|次|片|粒|支|瓶|丸|袋|包|滴|贴|针|克|斤|升|米|级|度|倍|℃|%|％|‰"
)
_LATIN_UNIT = (
    "mmHg|cmH2O|mmol|[uμµn]mol|mol|IU|U|mcg|[mkuμµnp]?g|[mdu]?L|[cmkn]?m|kPa|Hz|bpm|°C|℃|kcal|cal|"
    "years?|yrs?|months?|weeks?|wks?|days?|hours?|hrs?|h|min(?:ute)?s?|sec(?:ond)?s?|d|"
    "times|tablets?|tabs?|capsules?|caps?|puffs?|drops?|doses?|units?"
)
_UNIT = rf"(?:{_HAN_UNIT}|(?:{_LATIN_UNIT})(?![A-Za-z]))"
_RATE = rf"(?:\s?[/／每]\s?(?:{_NUMBER}\s?)?{_UNIT})"
_ENGLISH_NUMBER = "(?:one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|several|half an?)"
_MONTH = (
    "(?:Jan(?:uary)?|Feb(?:ruary)?|Mar(?:ch)?|Apr(?:il)?|May|June?|July?|Aug(?:ust)?|Sept?(?:ember)?|Oct(?:ober)?|"
    "Nov(?:ember)?|Dec(?:ember)?)"
)
_SCHEDULE = (
    r"q\.?\s?d|b\.?i\.?d|t\.?i\.?d|q\.?i\.?d|q\.?n|q\.?o\.?d|q\d+h|prn|p\.r\.n|"
    "once|twice|daily|weekly|monthly|stat"
)


def _alone(pattern: str) -> str:
    return f"(?<![A-Za-z])(?:{pattern})(?![A-Za-z])"


_PATTERNS = (
    "|".join(sorted((*NEGATIONS, *LATERALITIES), key=len, reverse=True)),
    _alone("|".join((*ENGLISH_NEGATIONS, *ENGLISH_LATERALITIES, r"rul(?:e[sd]?|ing) out", "free of", "[LR]t"))),
    _alone(r"[A-Za-z]{1,8}n['’]t"),
    r"[(（][-+－＋±][)）]",
    rf"{_DIGIT}{{2,4}}\s?年\s?{_DIGIT}{{1,2}}\s?月(?:\s?{_DIGIT}{{1,2}}\s?[日号]?)?",
    rf"{_DIGIT}{{1,4}}\s?[-/.．]\s?{_DIGIT}{{1,2}}\s?[-/.．]\s?{_DIGIT}{{1,4}}",
    rf"{_DIGIT}{{1,2}}[:：]{_DIGIT}{{2}}(?:[:：]{_DIGIT}{{2}})?",
    rf"(?:[±+\-<>≤≥＜＞]\s?)?{_RANGE}\s?[余多几]?(?:×10\^?{_DIGIT}+)?\s?[/／]?{_UNIT}{_RATE}*",
    rf"{_HAN_NUMBER}[余多几]?[个]?(?:{_HAN_UNIT}){_RATE}*",
    "[每隔][日天晚周月年次早午]|睡前|[早中晚]各",
    _alone(rf"{_ENGLISH_NUMBER}[\s-](?:{_LATIN_UNIT})"),
    _alone(rf"{_MONTH}\.?\s{_DIGIT}{{1,2}}(?:st|nd|rd|th)?(?:,?\s{_DIGIT}{{4}})?"),
    _alone(rf"{_DIGIT}{{1,2}}(?:st|nd|rd|th)?\s{_MONTH}\.?(?:,?\s{_DIGIT}{{4}})?"),
    _alone(_SCHEDULE),
)
_COMPILED = tuple(re.compile(pattern, re.IGNORECASE) for pattern in _PATTERNS)


@lru_cache(maxsize=256)
def protected_spans(text: str) -> tuple[CharacterRange, ...]:
    """Find what must not be changed in a text of either script: negations, sides, numbers with units, dates and doses.

    Returns:
        (start, end) of each, sorted; overlapping spans are merged.
    """
    read = simplified(text)
    spans = sorted(match.span() for pattern in _COMPILED for match in pattern.finditer(read))
    merged: list[CharacterRange] = []
    for start, end in spans:
        if merged and start < merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        elif end > start:
            merged.append((start, end))
    return tuple(merged)


def keeps_protected(before: str, after: str) -> bool:
    """Return whether two texts have the same protected words and figures, in any order.

    An edit that touches none of them may still create one (a negating character, a comma removed between two numbers).
    """
    return _protected_texts(before) == _protected_texts(after)


def _protected_texts(text: str) -> list[str]:
    return sorted(text[start:end] for start, end in protected_spans(text))


class ClosedSpans:
    """Spans closed to edits: their characters may not be replaced, and nothing may be inserted inside them.

    Args:
        length: number of characters of the text.
        spans: (start, end) of each; they may overlap.
    """

    def __init__(self, length: int, spans: Iterable[tuple[int, int]]) -> None:
        self._characters = bytearray(length)
        self._gaps = bytearray(length + 1)  # gap i is before character i
        for start, end in spans:
            self._characters[start:end] = b"\1" * (end - start)
            self._gaps[start + 1 : end] = b"\1" * (end - start - 1)

    @classmethod
    def of_entities(cls, document: Document) -> ClosedSpans:
        """Close the entities."""
        return cls(len(document.text), ((entity.start, entity.end) for entity in document.entities))

    @classmethod
    def of_protected(cls, document: Document) -> ClosedSpans:
        """Close the protected words and figures."""
        return cls(len(document.text), protected_spans(document.text))

    @classmethod
    def of_context(cls, document: Document) -> ClosedSpans:
        """Close the entities and the protected words and figures, which leaves the editable context."""
        entities = ((entity.start, entity.end) for entity in document.entities)
        return cls(len(document.text), (*entities, *protected_spans(document.text)))

    def is_open(self, start: int, end: int) -> bool:
        """Return whether a span may be replaced or, if it is empty, whether text may be inserted there."""
        if start == end:
            return not self._gaps[start]
        return 1 not in self._characters[start:end]
