"""What is to be done, decided from values alone: may this link be the parent, which steps make an endpoint, who gets
the default route.

Pure: no clock, files, kernel or randomness. Each step names its undo; `host` carries them out by way of `kernel`.
"""

from macvfast.plan.endpoints import (
    IPV6_DEFAULTS,
    AddAddress,
    AddDefaultRoute,
    AddLink,
    Configure,
    EndpointPlan,
    ExpectedLink,
    GroupRemoval,
    SetUp,
    default_families,
    default_route,
    group_removal,
    hand_over,
    held_families,
    ipv6_sysctls,
    plan_endpoint,
    refuse_endpoint,
)
from macvfast.plan.links import ON_PARENTS, DefaultRoute, LinkFacts, Links, names
from macvfast.plan.parents import (
    AddParent,
    SubInterface,
    refuse_base,
    refuse_company,
    refuse_mtu,
    refuse_overlap,
    refuse_parent,
    refuse_port,
    refuse_wireless,
    sub_interface,
    unlike_its_name,
)
from macvfast.plan.stacks import links_that_go, way_down

__all__ = [
    "IPV6_DEFAULTS",
    "ON_PARENTS",
    "AddAddress",
    "AddDefaultRoute",
    "AddLink",
    "AddParent",
    "Configure",
    "DefaultRoute",
    "EndpointPlan",
    "ExpectedLink",
    "GroupRemoval",
    "LinkFacts",
    "Links",
    "SetUp",
    "SubInterface",
    "default_families",
    "default_route",
    "group_removal",
    "hand_over",
    "held_families",
    "ipv6_sysctls",
    "links_that_go",
    "names",
    "plan_endpoint",
    "refuse_base",
    "refuse_company",
    "refuse_endpoint",
    "refuse_mtu",
    "refuse_overlap",
    "refuse_parent",
    "refuse_port",
    "refuse_wireless",
    "sub_interface",
    "unlike_its_name",
    "way_down",
]
