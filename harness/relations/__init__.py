"""Relations between runs that need no golden output, one file each (``context.Relation``)."""

RELATIONS: dict[str, str] = {
    "batch-rows": "harness.relations.batch_rows:relation",
    "padding": "harness.relations.padding:relation",
    "poison": "harness.relations.poison:relation",
    "pieces": "harness.relations.pieces:relation",
    "reversal": "harness.relations.reversal:relation",
    "fresh-session": "harness.relations.fresh_session:relation",
    "run-twice": "harness.relations.run_twice:relation",
}
