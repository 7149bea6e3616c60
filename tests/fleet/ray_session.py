"""A driver that reads Python scripts as lines of JSON and answers each with a line of JSON.

A line is [script, values]. The script sets `answer`; it finds the values by their names, what
earlier scripts made, `ray`, and `on("10.0.0.2")` for "on that node and no other".
"""

import json
import logging
import os
import sys
import traceback

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy


def on(address: str) -> NodeAffinitySchedulingStrategy:
    (node,) = (
        node["NodeID"]
        for node in ray.nodes()
        if node["Alive"] and node["NodeManagerAddress"] == address
    )
    return NodeAffinitySchedulingStrategy(node, soft=False)


def main() -> None:
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # Ray prints there what it has to say, as of a node that died
    ray.init(os.environ["RAY_ADDRESS"], log_to_driver=False, logging_level=logging.ERROR)
    names: dict[str, object] = {"ray": ray, "on": on}
    for line in sys.stdin:
        script, values = json.loads(line)
        names.update(values, answer=None)
        try:
            exec(script, names)
            reply = {"answer": names["answer"]}
        except Exception:
            reply = {"error": traceback.format_exc()}
        print(json.dumps(reply), file=answers)


if __name__ == "__main__":
    main()
