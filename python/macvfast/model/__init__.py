"""What is recorded: networks, subnets, endpoints and sandboxes, as frozen values; names, MACs and addresses checked.

Requests for them are in `requests`, what became of these in `outcomes`: a listing needs neither, nor what only engines
have, which is loaded when it is first used.
"""

from typing import TYPE_CHECKING

from macvfast.model.addresses import KERNEL_METRICS as KERNEL_METRICS
from macvfast.model.addresses import SUBNET_METRICS as SUBNET_METRICS
from macvfast.model.addresses import Address as Address
from macvfast.model.addresses import Cidr as Cidr
from macvfast.model.addresses import Interface as Interface
from macvfast.model.addresses import Route as Route
from macvfast.model.addresses import mac_text as mac_text
from macvfast.model.addresses import parse_address as parse_address
from macvfast.model.addresses import parse_mac as parse_mac
from macvfast.model.names import IFNAME_MAX as IFNAME_MAX
from macvfast.model.names import RESERVED_NETWORKS as RESERVED_NETWORKS
from macvfast.model.names import VID_MAX as VID_MAX
from macvfast.model.names import VID_MIN as VID_MIN
from macvfast.model.names import check_domain as check_domain
from macvfast.model.names import check_name as check_name
from macvfast.model.names import check_origin as check_origin
from macvfast.model.names import is_domain as is_domain
from macvfast.model.names import is_ifname as is_ifname
from macvfast.model.names import is_name as is_name
from macvfast.model.names import is_vid as is_vid
from macvfast.model.names import natural as natural
from macvfast.model.networks import LOOPBACK as LOOPBACK
from macvfast.model.networks import PODMAN_ID as PODMAN_ID
from macvfast.model.networks import MadeParent as MadeParent
from macvfast.model.networks import Network as Network
from macvfast.model.networks import Subnet as Subnet
from macvfast.model.networks import domain_of as domain_of
from macvfast.model.sandboxes import Endpoint as Endpoint
from macvfast.model.sandboxes import Sandbox as Sandbox
from macvfast.model.sandboxes import SandboxDetails as SandboxDetails
from macvfast.model.sandboxes import SandboxState as SandboxState

if TYPE_CHECKING:
    from macvfast.model.attachments import KEPT_S as KEPT_S
    from macvfast.model.attachments import ON_DEMAND as ON_DEMAND
    from macvfast.model.attachments import Attachment as Attachment
    from macvfast.model.attachments import HeldAddresses as HeldAddresses
    from macvfast.model.attachments import Remembered as Remembered
    from macvfast.model.docker import DockerAddress as DockerAddress
    from macvfast.model.docker import DockerPool as DockerPool
    from macvfast.model.docker import epoch_of as epoch_of
    from macvfast.model.docker import process_in as process_in
    from macvfast.model.noted import NotedEndpoint as NotedEndpoint

# What only engines have, by the module that has it: it would take two milliseconds of each start.
_OF_ENGINES = {
    "attachments": ("KEPT_S", "ON_DEMAND", "Attachment", "HeldAddresses", "Remembered"),
    "docker": ("DockerAddress", "DockerPool", "epoch_of", "process_in"),
    "noted": ("NotedEndpoint",),
}


def __getattr__(name: str) -> object:
    from importlib import import_module  # noqa: PLC0415

    for module, names in _OF_ENGINES.items():
        if name in names:
            return getattr(import_module(f"macvfast.model.{module}"), name)
    raise AttributeError(name)
