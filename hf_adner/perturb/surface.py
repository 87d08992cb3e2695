"""Edits of the surface of a text: punctuation and spaces, the order of clauses, and misspellings.

Misspellings are for measuring robustness only, not for training.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from hf_adner.data.records import CharacterRange, Document, Entity
from hf_adner.model.lexicon_adner import Lexicon
from hf_adner.perturb.context import ContextEdit, Terms
from hf_adner.perturb.edits import Edit, apply_guarded, entity_places
from hf_adner.perturb.perturbation import CharacterAlignment, Focus, Perturbation, Perturbed
from hf_adner.perturb.protected import ClosedSpans, keeps_protected
from hf_adner.perturb.reading import as_compared
from hf_adner.perturb.units import HAN, SPACE, SYMBOL, WORD, Unit, character_kind

OPERATIONS = ("width", "exchange", "delete", "insert")
"""Change the width of a sign, letter or digit; exchange a sign; delete a sign or space; insert a space."""

_HALF = ",;:?!()[]<>%+-=/~" + "".join(map(chr, (*range(0x30, 0x3A), *range(0x41, 0x5B), *range(0x61, 0x7B))))
_WIDTHS = {half: chr(ord(half) + 0xFEE0) for half in _HALF}
_WIDTHS |= {full: half for half, full in _WIDTHS.items()}
_EXCHANGES = {"，": "、；", "、": "，", "；": "，。", "。": "；", "：": "，", ",": ";", ";": ",", ".": ";"}
_DELETED = "，、；：,;"


class PunctuationEdit(Perturbation):
    """Change punctuation and spaces outside entities.

    Args:
        share: share of the editable places to change, at least one place.
        operations: some of `OPERATIONS`.

    Raises:
        ValueError: if the share is out of range, an operation is unknown, or there is none.
    """

    name = "punctuation"

    def __init__(self, share: float = 0.05, operations: tuple[str, ...] = OPERATIONS) -> None:
        if not 0 < share <= 1:
            raise ValueError(f"share is {share}, expected 0..1, above 0")
        if not operations or not set(operations) <= set(OPERATIONS):
            raise ValueError(f"operations are {operations}, expected some of {OPERATIONS}")
        self.share = share
        self.operations = operations

    def _perturb(self, document: Document, rng: random.Random, focus: Focus) -> Perturbed | None:
        closed = ClosedSpans.of_context(document)
        candidates = {
            operation: [edit for edit in _FINDERS[operation](document) if closed.is_open(edit.start, edit.end)]
            for operation in self.operations
        }
        count = max(1, round(self.share * len({edit.start for edits in candidates.values() for edit in edits})))
        return apply_guarded(document, _draw(candidates, count, rng), family=self.name, kind=self.kind)


def _draw(candidates: Mapping[str, list[Edit]], count: int, rng: random.Random) -> list[Edit]:
    """Draw edits of `count` places, all operations with equal frequency while they have candidates."""
    for edits in candidates.values():
        rng.shuffle(edits)
    chosen: dict[int, Edit] = {}
    while len(chosen) < count and (remaining := [edits for edits in candidates.values() if edits]):
        edit = rng.choice(remaining).pop()
        chosen.setdefault(edit.start, edit)
    return list(chosen.values())


def _widths(document: Document) -> Iterator[Edit]:
    for place, character in enumerate(document.text):
        if character in _WIDTHS:
            yield Edit(place, place + 1, _WIDTHS[character])


def _exchanges(document: Document) -> Iterator[Edit]:
    text = document.text
    for place, character in enumerate(text):
        if character == "." and text[place + 1 : place + 2].strip():
            continue  # a decimal point, an abbreviation or an address
        for other in _EXCHANGES.get(character, ""):
            yield Edit(place, place + 1, other)


def _deletions(document: Document) -> Iterator[Edit]:
    """Delete signs that do not separate entities, words or numbers, and spaces that do not separate words."""
    text = document.text
    starts = {entity.start for entity in document.entities}
    ends = {entity.end for entity in document.entities}
    for place, character in enumerate(text):
        separates_entities = place in ends and place + 1 in starts
        around = {_kind_at(text, place - 1), _kind_at(text, place + 1)}
        is_free = character in _DELETED or (character in " \t\u3000" and (HAN in around or SPACE in around))
        if is_free and not separates_entities and around != {WORD}:
            yield Edit(place, place + 1, "")


def _insertions(document: Document) -> Iterator[Edit]:
    """Insert spaces next to Chinese characters and signs, or next to another space."""
    text = document.text
    for place in range(1, len(text)):
        around = {_kind_at(text, place - 1), _kind_at(text, place)}
        if SPACE in around or around in ({HAN}, {HAN, WORD}, {HAN, SYMBOL}):
            yield Edit(place, place, " ")


def _kind_at(text: str, place: int) -> str:
    return character_kind(text[place]) if 0 <= place < len(text) else ""


_FINDERS = {"width": _widths, "exchange": _exchanges, "delete": _deletions, "insert": _insertions}


COMMAS = "，；,;"
STOPS = "。！？!?.\n"

TEMPORAL = (
    "后 前 随 继 遂 再 又 仍 次日 当日 同时 目前 现 曾 此 其 该 首 末 最 "
    "then after before subsequently later since until following previously prior now when while first finally"
).split()
"""Words of temporal order or reference: the clauses of a sentence with such a word are not exchanged."""

_NEGATIONS = ("否认", "无", "未", "没", "不", "非", "除外", "排除", " no ", " not ", "denie", "deny", "without", "n't")


class ClauseShuffle(Perturbation):
    """Exchange clauses within sentences; the signs between them stay in place.

    A negated clause keeps everything after it in its sentence (``否认发热，咳嗽``), which preserves the scope of the
    negation. Sentences with a word of `TEMPORAL` keep their order. Not suitable for narratives.
    """

    name = "clause-shuffle"

    def _perturb(self, document: Document, rng: random.Random, focus: Focus) -> Perturbed | None:
        closed = ClosedSpans.of_context(document)
        order: list[CharacterRange] = []
        for clauses in _sentences(document.text, closed):
            order += _shuffled(document.text, clauses, closed, rng)
        perturbed = rearranged(document, order, family=self.name)
        if perturbed.is_unchanged or not keeps_protected(document.text, perturbed.document.text):
            return None
        return perturbed


def _shuffled(
    text: str, clauses: Sequence[CharacterRange], closed: ClosedSpans, rng: random.Random
) -> list[CharacterRange]:
    """Return a sentence's clauses in their new order, with the text between and around them in place."""
    start, end = clauses[0][0], clauses[-1][1]
    blocks = _blocks(text, clauses, closed)
    sentence = as_compared(text[start:end])
    order = list(blocks)
    if len(blocks) > 1 and not any(word in sentence for word in TEMPORAL):
        for _ in range(4):  # two clauses keep their order with probability 1/16
            if order == blocks:
                rng.shuffle(order)
    edges = [start, *(edge for block in blocks for edge in block), end]
    gaps = list(zip(edges[::2], edges[1::2]))
    return [gaps[0], *(piece for pair in zip(order, gaps[1:]) for piece in pair)]


def rearranged(document: Document, order: Sequence[CharacterRange], *, family: str) -> Perturbed:
    """Return the document with its spans in another order.

    Args:
        document: the document.
        order: spans that cover the text once, in the new order; none may cut an entity.
        family: name of the perturbation.

    Raises:
        ValueError: if the spans do not cover the text once, or cut an entity.
    """
    backward = [place for start, end in order for place in range(start, end)]
    if sorted(backward) != list(range(len(document.text))):
        raise ValueError(f"{len(order)} spans do not cover the text of {len(document.text)} characters once")
    alignment = CharacterAlignment.from_backward(backward, len(document.text))
    entities = [_moved(entity, alignment) for entity in document.entities]
    text = "".join(document.text[start:end] for start, end in order)
    new = replace(document, text=text, entities=tuple(entities))
    return Perturbed(document, new, alignment, entity_places(entities, new), families=(family,))


def _moved(entity: Entity, alignment: CharacterAlignment) -> Entity:
    span = alignment.map_span(entity.start, entity.end)
    if span is None:
        raise ValueError(f"the spans cut the entity {entity.start}-{entity.end}")
    return Entity(*span, entity.label, entity.text, entity.meta)


def _sentences(text: str, closed: ClosedSpans) -> list[list[CharacterRange]]:
    """Return the clauses of each sentence without the signs between them; a full stop is a sentence of its own."""
    sentences: list[list[CharacterRange]] = [[]]
    start = 0
    for place, character in enumerate(text):
        if character not in COMMAS and character not in STOPS:
            continue
        if not closed.is_open(place, place + 1) or _is_inside_word(text, place):
            continue
        sentences[-1].append((start, place))
        start = place + 1
        if character in STOPS:
            sentences += ([(place, start)], [])
    sentences[-1].append((start, len(text)))
    return sentences


def _is_inside_word(text: str, place: int) -> bool:
    """Return whether a sign is half-width and not followed by a space, as in ``2.5`` or ``a,b``."""
    following = text[place + 1 : place + 2]
    return text[place] in ",;.!?" and following.isascii() and bool(following.strip())


def _blocks(text: str, clauses: Sequence[CharacterRange], closed: ClosedSpans) -> list[CharacterRange]:
    """Return the clauses without surrounding white space; the first negated one includes the rest of the sentence."""
    blocks: list[CharacterRange] = []
    for start, end in clauses:
        negated = any(word in f" {as_compared(text[start:end])} " for word in _NEGATIONS)
        blocks.append(_trimmed(text, start, clauses[-1][1] if negated else end, closed))
        if negated:
            break
    return [block for block in blocks if block[0] < block[1]]


def _trimmed(text: str, start: int, end: int, closed: ClosedSpans) -> CharacterRange:
    """Return the span without white space at its ends, unless that belongs to an entity."""
    while start < end and text[start].isspace() and closed.is_open(start, start + 1):
        start += 1
    while start < end and text[end - 1].isspace() and closed.is_open(end - 1, end):
        end -= 1
    return start, end


SOUND = """
症证正政整征 炎言严沿研盐 病并 痒养氧 疹诊枕镇 斑班般搬 红洪宏虹 皮疲脾 肤夫敷服 干甘肝 燥躁噪造 湿失师施 疮窗创
痛通 疼腾藤 热惹 咳壳渴克 嗽速素宿 痰谈弹潭 喘川穿 鼻比笔 塞赛 流留瘤刘 涕剃替体 咽烟淹 喉侯候后 肿种中钟 胀账涨帐
头投 晕运孕 胸凶兄 闷门们 腹复付负副 泻谢泄械 呕偶藕 吐土兔 恶饿扼 心新欣辛 悸记季技继 血雪学 压鸭押 糖唐堂膛
尿鸟 便变遍辨 眠棉绵 睡税 药要耀 膏高糕 酸算蒜 素诉塑 激机积基鸡 剂计济寄 量两亮 口扣 服伏福 外歪 用涌勇永 涂图途徒
抹末莫墨 治制至智质 疗聊辽 检减简剪 查察茶差 验艳厌宴 结节洁杰 果过裹 常长场偿 史使始屎 家加佳嘉 族足竹 遗疑移宜姨
传船 过锅郭 敏民皿 抗康炕 原源园元圆 体替题提 细戏系 胞包苞 菌军均君 感敢赶杆 染然燃 毒独读 发法罚 烧稍梢 冷愣
汗旱焊汉 颈景井警 面棉 部布步不 背贝倍被 腰邀妖 臀吞 腿退 脚角搅 手首守 足族 肘轴 膝西息吸 关管官观 节结杰捷
屈曲区趋 侧测册策 伸身深申 躯区 干赶 四似寺 肢只支枝知 泛范犯饭 散三伞 在再载 性姓幸杏 急极级集疾及 慢漫曼 反返
复富父 加夹甲 重众仲 轻清青氢 好号浩 转专砖赚 前钱潜 进近尽禁劲 出初除 院愿怨远 入乳 住注柱驻助 时十实食石识
期其起气七 间见建健件 每美镁 次刺此 早找澡 晚碗挽 夜业叶页液 内那纳 服副 片偏篇骗 粒力立利例历 支汁之 滴低敌 针真珍
注祝著 射社设摄 手术 书树数属 切窃且 除处触 缝逢峰 合和河核 引饮隐印 管馆 导到道倒 置治秩 影应映硬 像向象项
光广 线现献限 核何荷盒 磁词辞慈 超抄 声生升省 波播拨 电店点典 图突 肺费废肥 胃位味未为 肠尝偿 胆担但 胰疑 肾慎甚审
膀榜绑 胱光 子紫仔 宫公功工 卵乱 巢朝潮 乳如辱 腺线陷 甲假架嫁 状壮撞 淋林临邻 巴吧疤 骨古鼓股 折哲者 脱拖托 位围
神深 经精晶睛 脑恼 瘫摊滩贪 痪换患幻 癫颠巅 痫闲嫌 抑易益意义亦异 郁玉欲遇 焦交胶娇 虑绿率律 失诗湿 忆亿
清晰 楚处 稳吻问文 定订钉 明名铭鸣 显险鲜 著住 有友右又 无吴五午舞 未为 见件 否佛 认任忍 伴半办拌 及极即 与雨语羽
或货获祸 因音阴银 由油游尤 于鱼余愉 对队堆 会回灰汇 可科颗 能嫩 需须虚 应英鹰婴 该改钙概 请情晴 问闻
医一衣依 生胜圣 护户互 士事市试 患换 者这 儿耳 童同铜桶 男南难 女 岁随碎 年黏念 月越阅 日 周洲粥 天添甜 小晓
"""
"""Same or nearly the same pronunciation, ignoring the tone."""

SHAPE = """
皮波坡 疹诊珍 痒佯样 疮疱疤 瘙骚搔 癣鲜 痤座挫 疱泡炮 斑班 湿温 症证 疗辽 疼终 痛桶 瘤榴 癌岩 痔寺 疝仙 疽阻 疖节 疣优
已己巳 未末 土士 日曰目 大太犬 天夫无 人入八 千干于 午牛 刀力刃 几凡 九丸 儿几 王玉主 木本术 白自百 田由甲申 甩用
今令 办为 住往佳 作昨 体休 低底抵 他地 但担胆 侧测则 便使 候侯 倍部陪 值植直 偏编遍 像象 冒昌 再冉 冶治 准淮 凉惊
减咸 切初 列例 制利 刺剌 前剪 剂济 加如 助肋 勃脖 勿匆 匀勾 区医 卧外 却脚 卵卯 厂广 厌灰 原源 又叉 反友 发友 受爱
口囗 古舌 只兄 可何 史吏 右石 叶汁 合台 吐肚 向问 否杏 吸级 呈程 告吉 味妹 咳该 咽烟 品晶 哮孝 唇辰 喉候 喘端 嗽漱
囊襄 回同 因困 固围 园圆 块快 坏环 坚竖 型形 垂睡 埋理 基其 塞赛 墨黑 壮状 复夏 外处 多名 失矢 头买 奇寄 好女 妇扫
孔扎 字宇 季李 孩该 宁字 安按 官宫 定走 宜宣 实买 室窒 家象 容客 密蜜 寒塞 射身 尿屎 层屋 居局 屈届 屑眉 岁夕 峰锋
左在 巨臣 差着 巾币 布市 帖贴 常党 干午 平乎 年午 并开 广产 床庄 序库 应兴 底低 度渡 康庚 延廷 建健 开井 弃弈 弥称
彻沏 往住 径经 待侍 律津 得碍 微徽 心必 忆亿 志态 快块 怀坏 急争 性姓 恶悉 患串 悸季 情清 惊凉 感咸 慢漫 戒戎 成戌
房户 手毛 扎礼 打灯 扩矿 扫妇 技枝 抑仰 抗坑 折拆 抱泡 抽油 担但 拉位 拍怕 持特 指脂 按案 挤济 损捐 换唤 据剧 排非
接按 控空 推堆 描猫 提堤 插括 搏博 摄镊 撕斯 擦察 支文 收改 效郊 敏毓 敷傅 数教 断继 斯期 方万 旁傍 旋施 无元 早旱
时对 明朋 易昜 星皇 显湿 晒洒 晚免 暂哲 更便 最撮 有右 服报 期欺 木不 未朱 本体 术木 机几 杂余 李季 极级 析折 林材
果呆 枝技 柔矛 查杳 标际 栓拴 核刻 根银 格各 梗硬 检捡 椎推 楚禁 次欠 止正 步走 段假 每海 毒每 比此 毛手 气乞 水永
汗汁 池地 治冶 注住 泡炮 波坡 泪目 活话 洗先 浅钱 测侧 浓农 液夜 涂途 消稍 渗参 温湿 溃遗 滴摘 漏露 澡操 激敫 灼约
炎灾 炮泡 点占 热势 焦集 照熙 片斤 牙芽 物吻 特持 状壮 狂往 猛孟 率卒 珠株 球求 理埋 瓶并 生主 用甩 甲申 电申 男另
"""
"""Similar shape, or confused by character recognition."""

SPEECH = """
四十是 一七医 六流 十石四 零铃 啊阿 的得地 了乐 在再 他她它 做作坐 那哪 吗嘛妈 呢讷 吧八巴 嗯恩 按暗案 俺安 您宁拧
兰蓝南男 牛流 脑老 怒路 奶来 内累 农龙 女吕 年连 娘凉良 鸟了 您林临 飞灰挥 分昏 夫呼 房黄 饭汗换 发花 风轰
三山 酸栓 森身 私师 苏书 桑伤 早找 字志 走肘 最坠 次翅 擦插 从冲 村春 错戳 仓昌 丝诗 色社 岁睡 诉树
人银 热乐 日一 肉漏 入路 软暖 音英 心星 金京 信性 亲清 林灵 民名 贫平 今经 因应 分风 门梦 真蒸 身生 陈程 跟更 根耕
"""
"""Confused by speech recognition and regional accents: n and l, f and h, z/c/s and zh/ch/sh, -n and -ng."""

GROUPS = {"sound": SOUND, "shape": SHAPE, "speech": SPEECH}
"""Cause -> groups of characters that are confused with each other."""


class Confusions:
    """Misspellings: a confused character, or two letters exchanged; a source of replacements.

    Args:
        causes: some of `GROUPS`.

    Raises:
        ValueError: if a cause is unknown or there is none.
    """

    lexicon: Lexicon | None = None

    def __init__(self, causes: Iterable[str] = ("sound", "shape", "speech")) -> None:
        causes = tuple(causes)
        if not causes or not set(causes) <= set(GROUPS):
            raise ValueError(f"causes are {causes}, expected some of {tuple(GROUPS)}")
        confused: dict[str, set[str]] = {}
        for group in (group for cause in causes for group in GROUPS[cause].split()):
            for character in group:
                confused.setdefault(character, set()).update(group.replace(character, ""))
        self._confused = {character: tuple(sorted(others)) for character, others in confused.items() if others}

    def __len__(self) -> int:
        """Return the number of characters that can be confused."""
        return len(self._confused)

    def confused_with(self, character: str) -> tuple[str, ...]:
        """Return the characters that a character is confused with, sorted."""
        return self._confused.get(character, ())

    def covers(self, document: Document, unit: Unit) -> bool:
        """Return whether the unit has a character of the groups or letters that can be exchanged."""
        return self._misspell(document.text[unit.start : unit.end], unit.kind, random.Random(0)) is not None

    def propose(self, document: Document, units: Sequence[Unit], rng: random.Random) -> list[str | None]:
        """Misspell each unit, keeping its number of characters."""
        return [self._misspell(document.text[unit.start : unit.end], unit.kind, rng) for unit in units]

    def _misspell(self, word: str, kind: str, rng: random.Random) -> str | None:
        places = [place for place, character in enumerate(word) if character in self._confused]
        if places:
            place = rng.choice(places)
            return word[:place] + rng.choice(self._confused[word[place]]) + word[place + 1 :]
        return _exchange_letters(word, rng) if kind == WORD else None


def _exchange_letters(word: str, rng: random.Random) -> str | None:
    """Exchange two adjacent letters inside the word."""
    places = [place for place in range(1, len(word) - 2) if word[place] != word[place + 1]]
    if not places or not word.isalpha():
        return None
    place = rng.choice(places)
    return word[:place] + word[place + 1] + word[place] + word[place + 2 :]


class ConfusionEdit(ContextEdit):
    """Misspell characters and words of the context, for measuring robustness only.

    Args:
        share, bottom, terms: see `ContextEdit`.
        causes: see `Confusions`.
    """

    name = "confusions"

    def __init__(
        self,
        share: float = 0.1,
        causes: Iterable[str] = ("sound", "shape", "speech"),
        bottom: float = 0.5,
        terms: Terms | None = None,
    ) -> None:
        super().__init__([(1.0, Confusions(causes))], share=share, bottom=bottom, terms=terms)
