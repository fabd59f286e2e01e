"""Screening studies: a factorial design written as configurations, and the effects of its factors at every budget.

    promotion screen design studies/screen.yaml --resolution 5
    promotion screen effects

A screen is an ordinary study whose params.yaml has `factors`: locks, runs, gates and verification are those of any
other. Nothing here is read by a gate.
"""
