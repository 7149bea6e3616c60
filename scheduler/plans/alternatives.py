"""Where a placement may run, other than on the node it was planned for. Pure.

What is compared should run on one node; but a node may die, and another one will do if it is what
the sweep asked for.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from velodrome.agents.node import Node
from velodrome.scheduler.plans.declared_nodes import DeclaredType
from velodrome.scheduler.plans.eligibility import EligibleNodes, describe_unmet, resolve_threads
from velodrome.scheduler.plans.requirements import ResourceRequest
from velodrome.scheduler.sweeps.sweep import PlacementRule, Sweep

ANYTHING = ResourceRequest(1, 0, "")


@dataclass(frozen=True, slots=True)
class NodeConstraint:
    """node_id: that node and no other. label: any node with this. node_type: any node like it.

    With none of them, any node on which the need fits.
    """

    need: ResourceRequest = ANYTHING
    node_type: str = ""
    node_id: str = ""
    label: tuple[str, str] | None = None

    @property
    def is_one_node(self) -> bool:
        return bool(self.node_id)


ANYWHERE = NodeConstraint()


def may_run(home: NodeConstraint, threads: int, sweep: Sweep, node: Node) -> bool:
    """Whether it would be the same measurement there, of so many threads."""
    if home.node_id:
        return node.node_id == home.node_id
    if home.node_type and node.node_type != home.node_type:
        return False
    if home.label and home.label not in node.labels:
        return False
    return (
        not describe_unmet(home.need, sweep, node)
        and resolve_threads(home.need.threads, node) == threads
    )


class NodeTypes:
    """What is one type of node: the types that are declared, else what has the same hardware.

    A declared type is one type before any of its nodes is up, and the same one afterwards.
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
        """The nodes of a fit by their types. A fit has to live as long as this."""
        if not self._declared:
            return fit.by_type
        if id(fit) not in self._alike:
            types: dict[str, list[Node]] = {}
            for node in fit.nodes:
                types.setdefault(self.name(node), []).append(node)
            self._alike[id(fit)] = types
        return self._alike[id(fit)]

    def to_choose_from(self, fit: EligibleNodes) -> Sequence[Node]:
        """The nodes of a fit; of those to be had only the ones with the fewest GPUs, which cost."""
        if fit.nodes[0].node_id not in self._declared:
            return fit.nodes
        fewest = min(len(node.gpus) for node in fit.nodes)
        return [node for node in fit.nodes if len(node.gpus) == fewest]

    def home(
        self, where: PlacementRule, need: ResourceRequest, node: Node, spot: str
    ) -> NodeConstraint:
        """spot: its name in the plan, empty where it stands for any node."""
        if not spot:
            return NodeConstraint(need)
        declared = self._declared.get(self.name(node))
        if declared and (where is PlacementRule.EACH_TYPE or node.node_id == declared.node.node_id):
            return NodeConstraint(need, label=declared.selector)
        if where is PlacementRule.EACH_TYPE:
            return NodeConstraint(need, node_type=node.node_type)
        return NodeConstraint(need, node_id=node.node_id)
