"""Alternative nodes for a placement whose own node is lost. Pure.

What is compared should run on one node; but a node may fail, and another one is acceptable if it is
what the sweep asked for.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from velodrome.agents.node import Node
from velodrome.scheduler.plans.declared_nodes import DeclaredType
from velodrome.scheduler.plans.eligibility import EligibleNodes, describe_unmet, resolve_threads
from velodrome.scheduler.plans.requirements import CellRequirements
from velodrome.scheduler.sweeps.sweep import PlacementRule, Sweep

ANYTHING = CellRequirements(1, 0, "")


@dataclass(frozen=True, slots=True)
class NodeConstraint:
    """Nodes that may run a placement: one node_id, any with this label, or any of this node_type.

    With none of these: any node that satisfies the request.
    """

    need: CellRequirements = ANYTHING
    node_type: str = ""
    node_id: str = ""
    label: tuple[str, str] | None = None

    @property
    def is_one_node(self) -> bool:
        return bool(self.node_id)


ANYWHERE = NodeConstraint()


def may_run(constraint: NodeConstraint, threads: int, sweep: Sweep, node: Node) -> bool:
    """Return True if a run with so many threads would be the same measurement on this node."""
    if constraint.node_id:
        return node.node_id == constraint.node_id
    if constraint.node_type and node.node_type != constraint.node_type:
        return False
    if constraint.label and constraint.label not in node.labels:
        return False
    return (
        not describe_unmet(constraint.need, sweep, node)
        and resolve_threads(constraint.need.threads, node) == threads
    )


class NodesByType:
    """Groups nodes into types: declared types, else nodes with the same hardware.

    A declared type stays the same type before and after its first node joins.
    """

    def __init__(self, declared: Sequence[DeclaredType] = ()) -> None:
        self._declared = {one.name: one for one in declared}
        self._alike: dict[int, Mapping[str, Sequence[Node]]] = {}

    def name(self, node: Node) -> str:
        for declared in self._declared.values():
            if declared.is_type_of(node):
                return declared.name
        return node.node_type

    def alike(self, fit: EligibleNodes) -> Mapping[str, Sequence[Node]]:
        """Group eligible nodes by type. The argument must live as long as this object."""
        if not self._declared:
            return fit.by_type
        if id(fit) not in self._alike:
            types: dict[str, list[Node]] = {}
            for node in fit.nodes:
                types.setdefault(self.name(node), []).append(node)
            self._alike[id(fit)] = types
        return self._alike[id(fit)]

    def to_choose_from(self, fit: EligibleNodes) -> Sequence[Node]:
        """List the eligible nodes.

        Of nodes still to be started only those with the fewest GPUs: GPUs cost.
        """
        if fit.nodes[0].node_id not in self._declared:
            return fit.nodes
        fewest = min(len(node.gpus) for node in fit.nodes)
        return [node for node in fit.nodes if len(node.gpus) == fewest]

    def constraint(
        self, where: PlacementRule, need: CellRequirements, node: Node, spot: str
    ) -> NodeConstraint:
        """Return the constraint for a placement. spot.

        Its name in the plan; empty: any node will do.
        """
        if not spot:
            return NodeConstraint(need)
        declared = self._declared.get(self.name(node))
        if declared and (where is PlacementRule.EACH_TYPE or node.node_id == declared.node.node_id):
            return NodeConstraint(need, label=declared.selector)
        if where is PlacementRule.EACH_TYPE:
            return NodeConstraint(need, node_type=node.node_type)
        return NodeConstraint(need, node_id=node.node_id)
