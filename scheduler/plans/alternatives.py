"""Alternative nodes for a placement whose own node is lost. Pure.

Compared tasks should run on one node; if it fails, another node is acceptable if it meets the
sweep's request.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from velodrome.agents.node import Node
from velodrome.scheduler.plans.declared_nodes import DeclaredType
from velodrome.scheduler.plans.eligibility import (
    EligibleNodes,
    Spot,
    describe_unmet,
    resolve_threads,
)
from velodrome.scheduler.plans.requirement import CellRequirements
from velodrome.scheduler.sweeps.sweep import PlacementRule, Sweep

ANYTHING = CellRequirements(1, 0, "")


@dataclass(frozen=True, slots=True)
class NodeConstraint:
    """Nodes that may run a placement: one node_id, any with this label, or any of this node_type.

    pair: both nodes of a task on two. With none of these: any node that satisfies the request.
    """

    need: CellRequirements = ANYTHING
    node_type: str = ""
    node_id: str = ""
    label: tuple[str, str] | None = None
    pair: tuple[str, ...] = ()

    @property
    def is_one_node(self) -> bool:
        return bool(self.node_id)


ANYWHERE = NodeConstraint()


def may_run(make_constraint: NodeConstraint, threads: int, sweep: Sweep, node: Node) -> bool:
    """Return True if a run with so many threads would be the same measurement on this node."""
    if make_constraint.pair:
        return node.node_id in make_constraint.pair
    if make_constraint.node_id:
        return node.node_id == make_constraint.node_id
    if make_constraint.node_type and node.node_type != make_constraint.node_type:
        return False
    if make_constraint.label and make_constraint.label not in node.labels:
        return False
    return (
        not describe_unmet(make_constraint.need, sweep, node)
        and resolve_threads(make_constraint.need.threads, node, make_constraint.need.devices)
        == threads
    )


class NodesByType:
    """Groups nodes into types: declared types, else nodes with the same hardware.

    A declared type stays the same type before and after its first node joins.
    """

    def __init__(self, declared: Sequence[DeclaredType] = ()) -> None:
        self._declared = {each.name: each for each in declared}
        self._groups: dict[int, Mapping[str, Sequence[Node]]] = {}

    def name_type(self, node: Node) -> str:
        for declared in self._declared.values():
            if declared.is_type_of(node):
                return declared.name
        return node.node_type

    def group_by_type(self, fit: EligibleNodes) -> Mapping[str, Sequence[Node]]:
        """Group eligible nodes by type. The argument must live as long as this object."""
        if not self._declared:
            return fit.by_type
        if id(fit) not in self._groups:
            types: dict[str, list[Node]] = {}
            for node in fit.nodes:
                types.setdefault(self.name_type(node), []).append(node)
            self._groups[id(fit)] = types
        return self._groups[id(fit)]

    def list_candidates(self, fit: EligibleNodes) -> Sequence[Node]:
        """List the eligible nodes.

        Of nodes still to be started only those with the fewest GPUs: GPUs cost.
        """
        if fit.nodes[0].node_id not in self._declared:
            return fit.nodes
        fewest = min(len(node.gpus) for node in fit.nodes)
        return [node for node in fit.nodes if len(node.gpus) == fewest]

    def make_constraint(
        self, where: PlacementRule, need: CellRequirements, spot: Spot
    ) -> NodeConstraint:
        """Make the constraint for a placement. A spot without a name: any node will do."""
        node = spot.node
        if not spot.name:
            return NodeConstraint(need)
        if spot.partner:
            return NodeConstraint(need, pair=(node.node_id, spot.partner))
        declared = self._declared.get(self.name_type(node))
        if declared and (where is PlacementRule.EACH_TYPE or node.node_id == declared.node.node_id):
            return NodeConstraint(need, label=declared.selector)
        if where is PlacementRule.EACH_TYPE:
            return NodeConstraint(need, node_type=node.node_type)
        return NodeConstraint(need, node_id=node.node_id)
