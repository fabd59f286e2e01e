"""How sure a decision is: intervals, equivalence, redraws, leave-one-out and sensitivity, beside the frozen rules.

A pure library over locks, records and decisions. Nothing here decides anything and nothing that decides imports it:
gates, runs and `promotion verify` never load numpy, scipy or statsmodels through it. `study.assess` is the way in,
`what_if.answer` that of `promotion what-if`. docs/confidence.md says what every figure means.
"""
