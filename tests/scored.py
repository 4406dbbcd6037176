"""A plan and its scores from a dictionary of abilities: what `tables.build` takes, without a run."""

from collections.abc import Mapping

import pandas as pd

from xfer_ray.planfile import Plan, PlannedTrial, TaskFacts

Cell = tuple[str, str, str]  # model, source, target


def facts(targets, **changed) -> TaskFacts:
    declared = {
        "targets": tuple(targets),
        "groups": {"All": tuple(targets)},
        "metrics": ("accuracy",),
        "eval_split": "test",
        "normalized": True,
        "baseline": None,
        "denominators": (),
        "parallel": False,
        "licence": "",
        "citation": "",
        "revisions": {},
    }
    return TaskFacts(**{**declared, **changed})


def plan(task_facts: Mapping[str, TaskFacts], models, sources, seeds=(0,)) -> Plan:
    trials = [
        PlannedTrial(trial=f"{task}.{model}.{source}.s{seed}-{'0' * 12}", task=task, model=model, source=source, seed=seed, digest="0" * 12)
        for task in task_facts
        for model in models
        for source in sources
        for seed in seeds
    ]
    return Plan(sweep="mine", trials=tuple(trials), tasks=dict(task_facts), models={})


def rows(abilities: Mapping[Cell, float], *, task="toy", seed=0, **changed) -> pd.DataFrame:
    constant = {
        "task": task,
        "split": "test",
        "metric": "accuracy",
        "seed": seed,
        "n": 100,
        "selection": "last",
        "metric_version": "1",
        "data_fingerprint": "",
    }
    columns = ["model", "source", "target", "score", "trial", *constant]
    records = [
        {
            **constant,
            "model": model,
            "source": source,
            "target": target,
            "score": score,
            "trial": f"{task}.{model}.{source}.s{seed}-{'0' * 12}",
            **changed,
        }
        for (model, source, target), score in abilities.items()
    ]
    return pd.DataFrame(records, columns=columns)


def cells(tables, model: str, source: str) -> dict[str, float]:
    """One row of built tables by column, x 100."""
    columns = (*tables.targets, *(f"->{group}" for group in tables.groups))
    found = [row for block in tables.blocks if block.model == model for row in block.rows if row.source == source]
    (row,) = found
    return {column: 100 * cell for column, cell in zip(columns, row.cells, strict=True)}
