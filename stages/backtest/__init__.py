"""What frozen rules are worth: replayed on recorded learning curves, and on a model of such curves.

    promotion backtest CURVES.csv --map map.yaml --rules params.yaml
    promotion simulate --from ledger/runs.jsonl --rules params.yaml
    promotion design --from ledger/runs.jsonl --hours 10 --keep-best 0.95

Nothing in this folder is read by a gate, by `verify` or by a run, and nothing in it can change a decision.
"""
