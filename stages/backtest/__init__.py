"""Backtests: frozen rules replayed on recorded learning curves, and on curves simulated from a fitted model.

    promotion backtest CURVES.csv --map map.yaml --rules params.yaml
    promotion simulate --from ledger/runs.jsonl --rules params.yaml
    promotion design --from ledger/runs.jsonl --hours 10 --keep-best 0.95

No gate, run or `verify` imports this folder, so nothing in it can change a decision.
"""
