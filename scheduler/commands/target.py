"""Target of a sweep: this machine, or the nodes of a cluster."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from velodrome.scheduler.errors import ConfigError
from velodrome.scheduler.plans.declared_nodes import DeclaredType, load_types
from velodrome.scheduler.plans.node_prices import Price, PriceList, make_price_list, parse_price
from velodrome.scheduler.sweeps import quantities
from velodrome.scheduler.sweeps.quantities import read_option

NO_PRICE: Price | None = None


@dataclass(frozen=True)
class Target:
    """Machine or cluster to run a sweep on. address.

    Of Ray; empty: this machine, under an embedded Ray. cluster: file that declares nodes to start
    on demand. patience_s: how long to wait for a node when nothing else can run; on this machine
    none will ever join. price: of a node per hour, where cluster has none.
    """

    def make_prices(self, declared: Sequence[DeclaredType] = ()) -> PriceList:
        """Make the price list of its nodes."""
        return make_price_list(declared, self.price)

    address: str = ""
    cluster: Path | None = None
    patience_s: float = 0.0
    patience: str = ""  # as it was typed
    price: str = ""  # as it was typed


def parse_target(address: str, cluster: Path | None, patience: str, price: str = "") -> Target:
    """Parse the target options. ConfigError names the wrong option and the fix.

    patience empty: 5 minutes for a node to return, 20 for one to start, which may take a cloud ten.
    """
    usual_s = 20 * 60.0 if cluster else 5 * 60.0
    read_option("--price", price, parse_price, NO_PRICE)
    make_price_list(load_types(cluster) if cluster else (), price)  # before anything is started
    patience_s = read_option("--patience", patience, _parse_patience_s, usual_s)
    if not address:
        if cluster:
            mend = "Give --address, too: `auto` on the head, or HOST:PORT."
            raise ConfigError("command line, --cluster", "it names no cluster", mend)
        return Target(price=price)
    return Target(address, cluster, patience_s, patience, price)


def _parse_patience_s(text: str) -> float:
    return 0.0 if text == "0" else quantities.parse_duration_s(text)
