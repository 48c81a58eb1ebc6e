"""How similar students' attention is to their teacher's over many images, stage by stage."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import altair as alt

from kdexplorer.analysis.attention_similarity import StageSummary
from kdexplorer.charts import style
from kdexplorer.charts.common import FIT, Spec, data, spec, title


def similarity_by_stage(summaries: Mapping[str, Sequence[StageSummary]], roles: Mapping[str, str], count: int) -> Spec:
    """Mean cosine to the teacher's map by stage and student; lines span the middle 80 % of images.

    Args:
        summaries: `attention_similarity.summarize` by network.
        roles: each network's, see `style.role_of`.
        count: how many images were compared.
    """
    looks = style.series({name: roles[name] for name in summaries})
    rows = [
        vars(summary) | {"network": name, "stage": f"stage {summary.stage}"}
        for name, stages in summaries.items()
        for summary in stages
    ]
    words = "cosine to the teacher's map (1 = same)"
    base = alt.Chart(data(rows)).encode(
        x=alt.X("stage:N", sort=list(dict.fromkeys(row["stage"] for row in rows)), title=None, axis={"labelAngle": 0}),
        xOffset=alt.XOffset("network:N", sort=list(summaries)),
        color=style.color(looks),
    )
    spread = base.mark_rule(strokeWidth=4, opacity=0.5).encode(y=alt.Y("low:Q", title=words), y2="high:Q")
    points = base.mark_point(size=170, filled=True, opacity=1).encode(
        y=alt.Y("cosine:Q", title=words, scale=alt.Scale(zero=False)),
        shape=style.shape(looks),
        tooltip=[
            "network:N",
            "stage:N",
            alt.Tooltip("cosine:Q", format=".4f", title="mean cosine"),
            alt.Tooltip("low:Q", format=".4f", title="10th percentile"),
            alt.Tooltip("high:Q", format=".4f", title="90th percentile"),
            alt.Tooltip("mse:Q", format=".2e", title="mean MSE"),
        ],
    )
    chart = alt.layer(spread, points).properties(
        height=360,
        autosize=FIT,
        title=title(
            "Similarity to the teacher's attention", f"mean of {count:,} test images; lines: 10th to 90th percentile"
        ),
        description=f"Points with spread: cosine to the teacher's attention per stage for {', '.join(summaries)}.",
    )
    return spec(chart)
