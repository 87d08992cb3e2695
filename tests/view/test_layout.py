"""Where a browser puts the characters of a page: nothing moves when an entity is chosen or hidden."""

import json
import re
import shutil
import subprocess
from html import unescape

import pytest

from hf_adner import Document, Entity
from hf_adner.data.formats.html import html_text
from hf_adner.view.page import notes_of, page_text

from .notes import explanation

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = [pytest.mark.slow, pytest.mark.skipif(BROWSER is None, reason="no Chromium")]

TEXT = (
    "患者四肢屈侧反复出现红斑、丘疹，伴剧烈瘙痒，夜间加重，外用糠酸莫米松乳膏、他克莫司软膏后好转，皮损消退后留有色素沉着斑。"
    * 3
)
SPANS = [(2, 6, "BodySite"), (10, 12, "Symptom"), (13, 15, "Symptom"), (17, 21, "Symptom"), (29, 36, "Drug"),
         (37, 44, "Drug"), (53, 61, "Symptom"), (60, 80, "Finding"), (100, 170, "Finding")]  # fmt: skip
MEASURE = """
<script>
const places = (entity) => {
  const found = [];
  const walker = document.createTreeWalker(entity, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    if (walker.currentNode.parentElement.closest(".chip")) continue;
    for (let at = 0; at < walker.currentNode.length; at += 1) {
      const range = document.createRange();
      range.setStart(walker.currentNode, at);
      range.setEnd(walker.currentNode, at + 1);
      const box = range.getBoundingClientRect();
      found.push([Math.round(box.left + scrollX), Math.round(box.top + scrollY)]);
    }
  }
  return found;
};
const result = STEPS;
const output = document.createElement("pre");
output.id = "measured";
output.textContent = JSON.stringify(result);
document.body.append(output);
</script>
"""
CHOOSE = """(() => {
  const text = document.querySelector(".text"), before = places(text);
  const lines = [...document.querySelectorAll(".entity")].map((one) => [one.className, places(one).map((at) => at[1])]);
  const chips = [...document.querySelectorAll(".chip")];
  const after = chips.map((chip) => { chip.click(); return places(text); });
  document.querySelector(".filters input").click();
  return { before, after: [...after, places(text)], lines };
})()"""
HIDE = """(() => {
  const text = document.querySelector(".text"), before = places(text);
  const lines = [...document.querySelectorAll("mark")].map((one) => [one.className, places(one).map((at) => at[1])]);
  document.querySelector("input").click();
  return { before, after: [places(text)], lines };
})()"""


def measured(page: str, steps: str, folder, width: int) -> dict:
    page = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", page)  # which forbids the measuring
    (folder / "page.html").write_text(page.replace("</body>", MEASURE.replace("STEPS", steps) + "</body>"))
    call = [BROWSER, "--headless=new", "--no-sandbox", "--disable-gpu", f"--window-size={width},600", "--dump-dom"]
    call += [f"--user-data-dir={folder / 'profile'}", (folder / "page.html").as_uri()]
    shown = subprocess.run(call, capture_output=True, text=True, check=True).stdout
    return json.loads(unescape(re.search('<pre id="measured">(.*?)</pre>', shown, re.DOTALL)[1]))


def assert_still(found: dict) -> None:
    assert len({top for _, top in found["before"]}) > 3  # several lines
    for places in found["after"]:  # a shade begins at a whole pixel
        pairs = [(*one, *other) for one, other in zip(found["before"], places, strict=True)]
        assert all(abs(left - moved) <= 1 and top == other for left, top, moved, other in pairs)
    short = [tops for names, tops in found["lines"] if "kept" in names.split()]
    assert len(short) > 4 and all(len(set(tops)) == 1 for tops in short)


@pytest.mark.parametrize("width", [520, 900, 1300])
def test_choosing_and_hiding_moves_nothing_on_a_page_of_explanations(tmp_path, width):
    details = [{"assertion": ["negated"] * (number % 2), "assertion_cues": []} for number in range(len(SPANS))]
    explained = [explanation(TEXT, span, details=one) for span, one in zip(SPANS, details)]
    assert_still(measured("".join(page_text(notes_of(explained))), CHOOSE, tmp_path, width))


@pytest.mark.parametrize("width", [520, 1300])
def test_hiding_moves_nothing_on_a_page_of_texts(tmp_path, width):
    entities = tuple(Entity(*span, meta={"assertion": ["negated"] * (span[0] % 2)}) for span in SPANS)
    page = "".join(html_text([Document("a", TEXT, entities)]))
    assert_still(measured(page, HIDE, tmp_path, width))


def test_the_list_of_entities_fits_beside_the_note(tmp_path):
    text = "甲狀腺過氧化物酶抗體昇高，血管性水腫。"
    found = [((0, 12, "Symptom"), []), ((13, 18, "Disease"), ["historical", "negated"])]
    details = [{"assertion": names, "assertion_cues": []} for _, names in found]
    explained = [explanation(text, span, details=one, posterior=0.7) for (span, _), one in zip(found, details)]
    steps = 'document.querySelectorAll(".wide").length && [...document.querySelectorAll(".list .wide")].map('
    steps += "(one) => [one.scrollWidth, one.clientWidth])"
    (sizes,) = measured("".join(page_text(notes_of(explained))), steps, tmp_path, 1300)
    assert sizes[0] <= sizes[1]
