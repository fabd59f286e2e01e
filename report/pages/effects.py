"""Effects: what the factors of a screen do at every budget, and which level a short budget penalises.

The page exists where the study has `factors`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from report.figures import Figure, FigureSpec, scatter
from report.page import Page, link_config, link_rung
from report.tables import Cell, Column, Table
from report.views import StudyView
from stages.domain import formatting
from stages.domain.errors import Refused
from stages.domain.factors import Factors, describe_level
from stages.screen.baselines import BaselineChoice
from stages.screen.effects import ALPHA, COURSES, LEVEL, FactorCourse, ScreenEffects
from stages.screen.recorded import Screen, read_screen

SOURCE = "locks/gate1.yaml (factors) and ledger/runs.jsonl"
COLOURS = ("@c1", "@c2", "@c3", "@c4", "@ink", "@c0")
DASHES = ("solid", "dash", "dot", "dashdot", "longdash")

COURSE = Table(
    "courses", "From the first budget to the last", SOURCE, tools=False, empty="It takes two budgets with all scores."
)
EFFECTS = Table(
    "effects",
    "Every effect at every budget on every host block",
    SOURCE,
    note=f"Intervals: {LEVEL:.0%}, least squares. Corrected p: Benjamini-Hochberg within a budget.",
    empty="No budget has all its scores.",
)
MISSING = Table("missing", "Not evaluable", SOURCE, tools=False)
CHOICES = Table(
    "choices",
    "What greedy and random choice find on the same runs",
    SOURCE,
    note="Exact, from the recorded means; nothing else was trained.",
    tools=False,
    empty="A score is missing.",
)


def pages(view: StudyView) -> Iterator[Page]:
    """The one page, for a study with factors whose first gate is frozen."""
    if not view.study.factors:
        return
    try:
        screen = read_screen(
            {gate: file.lock for gate, file in view.files.locks.items()},
            [run.record for run in view.files.runs.values()],
        )
    except Refused as error:
        yield Page("effects.html", "effects.html", "Effects", {"absent": str(error), "figures": []})
        return
    result = screen.effects()
    rungs = list(screen.cells)
    context: dict[str, object] = {
        "absent": "",
        "lead": lead(result.courses, screen.factors),
        "alpha": ALPHA,
        "figures": [*_courses_figure(result, screen), *_half_normal_figure(result, rungs)],
    }
    tables = [courses_table(result, screen.factors), effects_table(result), choices_table(screen.choices())]
    if result.missing:
        tables.append(missing_table(result))
    yield Page("effects.html", "effects.html", "Effects", context, tables)


def lead(courses: Sequence[FactorCourse], factors: Factors) -> list[str]:
    """A sentence for every level that a short budget penalises and a longer one does not."""
    recovered = [course for course in courses if course.course in ("reverses", "relaxes")]
    if recovered:
        return [say_course(course, factors) for course in recovered]
    if not courses:
        return ["Two budgets with all their scores are needed to see an effect change."]
    return ["No factor has a level that the first budget penalises and the last one does not."]


def say_course(course: FactorCourse, factors: Factors) -> str:
    """What becomes of one main effect."""
    level = describe_level(factors[course.factor], course.penalised)
    first, last = formatting.signed(course.first), formatting.signed(course.last)
    return (
        f"{course.factor} on {course.host}: at the first budget {level} costs {formatting.bpb(abs(course.first))}; "
        f"{COURSES[course.course]} ({first}, then {last})."
    )


def courses_table(result: ScreenEffects, factors: Factors) -> Table:
    """What becomes of every main effect."""
    columns = [
        Column("factor", "Factor"),
        Column("host", "Host block"),
        Column(
            "penalised",
            "Worse at first",
            hint="the level with the larger val_bpb at the first budget",
            get=lambda course: describe_level(factors[course.factor], course.penalised),
        ),
        Column("first", "Effect at the first budget", "signed"),
        Column("last", "Effect at the last", "signed"),
        Column("course", "What becomes of it", get=lambda course: Cell(course.course, COURSES[course.course])),
    ]
    return COURSE.fill(columns, result.courses, lambda course: f"course.{course.factor}.{course.host}")


def effects_table(result: ScreenEffects) -> Table:
    """All effects; an interval or a test that cannot be had stays empty."""
    columns = [
        Column("name", "Effect"),
        Column("rung", "Budget", get=lambda effect: link_rung(effect.rung)),
        Column("host", "Host block"),
        Column("kind", "Kind"),
        Column("estimate", "Estimate", "signed", "val_bpb at the last level minus that at the first"),
        Column("lower", "From", "signed", group="Interval"),
        Column("upper", "To", "signed", group="Interval"),
        Column("corrected", "Corrected p", "number", digits=4),
        Column("p", "p", "number", hidden=True),
        Column("shown", "Shown", get=lambda effect: Cell(effect.shown, "yes" if effect.shown else "no")),
        Column(
            "aliases",
            "Aliased with",
            hint="the design cannot tell these apart",
            get=lambda effect: ", ".join(effect.aliases) or "nothing",
        ),
    ]
    return EFFECTS.fill(
        columns, result.effects, lambda effect: f"effect.{effect.rung}.{effect.host}.{effect.name.replace(' ', '-')}"
    )


def missing_table(result: ScreenEffects) -> Table:
    """Budgets and hosts without effects."""
    columns = [
        Column("rung", "Budget", get=lambda gap: link_rung(gap.rung)),
        Column("host", "Host block"),
        Column("reason", "Why"),
    ]
    return MISSING.fill(columns, result.missing, lambda gap: f"missing.{gap.rung}.{gap.host}")


def choices_table(choices: Sequence[BaselineChoice]) -> Table:
    """Cheaper ways of choosing."""
    columns = [
        Column("name", "Choose"),
        Column("hours", "Device time", "hours", get=lambda choice: choice.seconds / 3600),
        Column("config", "It picks", get=lambda choice: link_config(choice.config)),
        Column("regret", "Behind the best at the last budget", "signed", "expected, for a random choice"),
    ]
    return CHOICES.fill(columns, choices, lambda choice: f"choice.{choice.name.replace(' ', '-').replace(',', '')}")


def _courses_figure(result: ScreenEffects, screen: Screen) -> Iterator[Figure]:
    """Main effects over the budgets, a line for each factor on each host block."""
    main = [effect for effect in result.effects if effect.kind == "main"]
    if not main or len(screen.cells) < 2:
        return
    hosts = list(dict.fromkeys(effect.host for effect in main))
    lines: list[FigureSpec] = []
    legend = []
    for n, factor in enumerate(screen.factors):
        for m, host in enumerate(hosts):
            own = [effect for effect in main if effect.factors == (factor,) and effect.host == host]
            look = (COLOURS[n % len(COLOURS)], DASHES[m % len(DASHES)])
            budgets, sizes = [screen.budgets[effect.rung] for effect in own], [effect.estimate for effect in own]
            hover = f"{formatting.html_text(factor)}, {formatting.html_text(host)}<br>%{{x}} s: %{{y:+.6f}}"
            line, marker = {"color": look[0], "dash": look[1], "width": 2}, {"color": look[0], "size": 7}
            lines.append(scatter("lines+markers", budgets, sizes, hover, line=line, marker=marker))
            legend.append((look[0], "" if look[1] == "solid" else look[1], "circle", f"{factor} on {host}"))
    yield Figure(
        "figure.courses",
        "Main effects over the budgets",
        "Above zero the last level of a factor costs val_bpb, below zero it gains. A line that falls towards zero is a "
        "penalty of short budgets that longer ones relax.",
        "effects",
        lines,
        {
            "xaxis": {"title": {"text": "budget in seconds"}, "type": "log"},
            "yaxis": {"title": {"text": "effect in val_bpb"}, "zeroline": True},
            "margin": {"l": 70, "r": 16, "t": 16, "b": 56},
        },
        {"margin": {"l": 56, "r": 12, "t": 12, "b": 56}},
        legend=tuple(legend),
    )


def _half_normal_figure(result: ScreenEffects, rungs: Sequence[str]) -> Iterator[Figure]:
    """The effects at the last budget against the quantiles of a half-normal distribution."""
    from scipy.stats import halfnorm

    last = [effect for effect in result.effects if effect.rung == rungs[-1]]
    if not last:
        return
    marks: list[FigureSpec] = []
    legend = []
    for n, host in enumerate(dict.fromkeys(effect.host for effect in last)):
        own = sorted((effect for effect in last if effect.host == host), key=lambda effect: abs(effect.estimate))
        quantiles = [round(float(halfnorm.ppf((i + 0.5) / len(own))), 4) for i in range(len(own))]
        colour, symbol = COLOURS[n % len(COLOURS)], ("circle", "square", "diamond")[n % 3]
        sizes, texts = [abs(effect.estimate) for effect in own], [formatting.html_text(effect.name) for effect in own]
        hover = f"%{{text}}, {formatting.html_text(host)}: %{{y:.6f}}"
        marker = {"color": colour, "symbol": symbol, "size": 8}
        marks.append(scatter("markers", quantiles, sizes, hover, text=texts, marker=marker))
        legend.append((colour, "", symbol, host))
    yield Figure(
        "figure.half-normal",
        f"{formatting.rung_title(rungs[-1])}: sizes of the effects against those of noise",
        "Effects of pure noise lie on a line through zero; the ones that stand above it at the right do something.",
        "effects",
        marks,
        {
            "xaxis": {"title": {"text": "half-normal quantile"}, "rangemode": "tozero"},
            "yaxis": {"title": {"text": "size of the effect in val_bpb"}, "rangemode": "tozero"},
            "margin": {"l": 70, "r": 16, "t": 16, "b": 56},
        },
        {"margin": {"l": 56, "r": 12, "t": 12, "b": 56}},
        legend=tuple(legend),
    )
