"""The one chart of the site, which every cell's page draws from rows of its own."""

from functools import cache

HEIGHT = 200


@cache
def trend_chart() -> dict[str, object]:
    """Vega-Lite without data: per phase, each night's time and the level of its stretch."""
    import altair as alt  # late: slow to import

    nights = alt.Chart(alt.NamedData("nights")).encode(
        x=alt.X("at:T", title=None, axis=alt.Axis(format="%Y-%m-%d", labelAngle=0)),
        y=alt.Y("ms:Q", title="ms per batch", scale=alt.Scale(zero=False)),
    )
    levels = nights.mark_line(strokeWidth=2, color="var(--level)", interpolate="linear").encode(
        y="level:Q", detail="stretch:N"
    )
    dots = nights.mark_point(filled=True, size=45, opacity=1).encode(
        tooltip="tip:N",
        color=alt.Color(
            "kind:N",
            scale=alt.Scale(
                domain=["measured", "measured again"], range=["var(--dot)", "var(--again)"]
            ),
            legend=alt.Legend(orient="bottom", title=None),
        ),
        shape=alt.Shape(
            "kind:N",
            scale=alt.Scale(domain=["measured", "measured again"], range=["circle", "diamond"]),
            legend=alt.Legend(orient="bottom", title=None),
        ),
    )
    layered = alt.layer(levels, dots).properties(width="container", height=HEIGHT)
    spec: dict[str, object] = layered.to_dict()
    for name in ("$schema", "config", "datasets"):
        spec.pop(name, None)
    return spec
