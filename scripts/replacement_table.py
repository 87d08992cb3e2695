#!/usr/bin/env python3
"""Fuse occlusion with a table of measured replacement effects, and compare it with the recorded explainers.

    python scripts/replacement_table.py --model runs/quickstart/model --longest 80 --entities 104 --views 1

The table holds by how much the log-odds of an entity (for its edges their probabilities) change when random characters
replace each character, averaged per unit, entity type and role over training documents. Occlusion's maps are shrunk
towards it by empirical Bayes, as `fused` shrinks them towards occlusion's own table. The other explainers are those of
`model_cards/results/explanations/ad-synthetic`; the options must be those of their records. Prints a Markdown table.
"""

import numpy as np
import torch
from explainer_comparison import compare_explainers
from explanations import AUDIT_FILE, RECORDS, TARGETS, ExplainerMaker, audit_settings, parse, read_json, splits_of

from hf_adner import AdnerForTokenClassification, AdnerTokenizer, make_explainer
from hf_adner.audit.explanation_report import ExplainerScores
from hf_adner.audit.explanations import ExplanationAudit
from hf_adner.audit.measures import TargetedExplainer
from hf_adner.audit.responses import END, LOG_ODDS, START, ModelResponses
from hf_adner.audit.sample import draw_sample
from hf_adner.data.records import Document
from hf_adner.explain.explainers import fusion_for
from hf_adner.explain.fused import local_maps
from hf_adner.explain.global_table import GlobalTable
from hf_adner.explain.table_building import estimate_noise
from hf_adner.explain.table_progress import MeasuredMap
from hf_adner.explain.unit_statistics import log_attributions
from hf_adner.files import write_json
from hf_adner.reporting import markdown_table

NAME, LOCAL, DRAWS = "fused-of-replacement", "occlusion", 3
COLUMNS = dict(zip(TARGETS, (LOG_ODDS, START, END)))
MEASURES = (
    "discriminative_faithfulness",
    "replaced_agreement",
    "normalised_comprehensiveness",
    "agreement_over_others",
)
AGAINST = ("fused-of-occlusion", "occlusion", "occlusion-posterior", "grad-x-input", "integrated-gradients")


def replacement_tables(maker: ExplainerMaker, documents: list[Document]) -> dict[str, GlobalTable]:
    """Return per target a table of the effects of replacing each character, on the entities that the model finds."""
    tokenizer = maker.tokenizer
    tables = {target: GlobalTable(5.0, tokenizer.lexicon, target, tokenizer.script_map, LOCAL) for target in TARGETS}
    sample = draw_sample(maker.model, tokenizer, documents, 10**6)
    tagger = maker.local(LOCAL).tagger
    with tagger.eval_mode():
        responses = ModelResponses(tagger, sample, 32, DRAWS)
        for number, audited in enumerate(sample.entities):
            text, window = sample.text_of(number), responses.locate(number).window
            for target, column in COLUMNS.items():
                effects = np.abs(responses.replacement_changes(number, column)).mean(axis=0)
                scores = torch.from_numpy(window.over_characters(effects, len(text)))
                logs = log_attributions(scores, torch.ones(len(text), dtype=torch.bool)).tolist()
                tables[target].add(text, audited.span, logs, document=documents[audited.document].id)
    return tables


def fused(maker: ExplainerMaker, table: GlobalTable, target: str, documents: list[Document]) -> object:
    """Return occlusion shrunk towards a table, whose error is estimated on documents that it does not contain."""
    local, variance = maker.local(LOCAL, target), maker.table(LOCAL, target).noise.local_variance
    found = local([document.text for document in documents], [document.spans for document in documents])
    maps = [MeasuredMap(one, variance) for one in local_maps([one for group in found for one in group])]
    table.noise = estimate_noise([(table, maps)])
    print(target, "tau2 of the replacement table", [round(value, 2) for value in table.noise.tau2], flush=True)
    return make_explainer(
        "fused",
        maker.model,
        maker.tokenizer,
        global_table=table,
        local=local,
        fusion=fusion_for("empirical-bayes", table),
    )


def main() -> None:
    """Build the tables, measure the fusion, and print the comparison."""
    args = parse(__doc__)
    torch.set_num_threads(args.threads)
    args.groups = ["discrimination", "contrast", "boundary", "faithfulness"]
    model, tokenizer = (
        AdnerForTokenClassification.from_pretrained(args.model),
        AdnerTokenizer.from_pretrained(args.model),
    )
    splits = {
        split: [document for document in documents if len(document.text) <= args.longest]
        for split, documents in splits_of("ad-synthetic").items()
    }
    maker = ExplainerMaker(model, tokenizer, splits, args.work, args)
    half = args.table_documents // 2
    tables = replacement_tables(maker, splits["train"][:half])
    held_out = splits["train"][half : half + half // 2]
    explainer = TargetedExplainer({target: fused(maker, tables[target], target, held_out) for target in TARGETS})
    audit = ExplanationAudit(model, tokenizer, splits["test"], audit_settings(args))
    scores = {NAME: audit.score(NAME, explainer)}
    write_json(args.work / f"{NAME}.json", scores[NAME].to_dict())
    for name in AGAINST:
        scores[name] = ExplainerScores.from_dict(read_json(RECORDS / "ad-synthetic" / f"{name}.json")["scores"])
    report = audit.report(scores.values())
    recorded = read_json(RECORDS / "ad-synthetic" / AUDIT_FILE)["population"]
    if recorded["document"] != report.sample["document"] or recorded["found"] != report.sample["found"]:
        raise ValueError("the recorded explainers explained other entities; take the options of their records")
    rows = []
    for name in scores:
        pairs = [compare_explainers(report, NAME, name, measure) for measure in MEASURES if name != NAME]
        cells = [f"{pair.difference:+.4f} [{pair.low:+.4f}, {pair.high:+.4f}]" for pair in pairs] or ["–"] * len(
            MEASURES
        )
        rows.append((name, *(scores[name].mean(measure) for measure in MEASURES), *cells))
    print(markdown_table(("explainer", *MEASURES, *(f"difference in {measure}" for measure in MEASURES)), rows))


if __name__ == "__main__":
    main()
