"""Requests for networks, endpoints and commands, as frozen values.

Everything that can be wrong with a request alone is refused when it is built; what needs the record or the kernel to be
known (is the parent there, is the address free) is checked later, by `plan` and `engine`.
"""

from macvfast.options import changeable_options as changeable_options
from macvfast.options import options_of as options_of
from macvfast.requests.commands import CommandRequest as CommandRequest
from macvfast.requests.commands import OwnFiles as OwnFiles
from macvfast.requests.commands import parse_size as parse_size
from macvfast.requests.endpoints import GW_PRIORITY as GW_PRIORITY
from macvfast.requests.endpoints import EndpointRequest as EndpointRequest
from macvfast.requests.endpoints import OpenNetns as OpenNetns
from macvfast.requests.endpoints import PluginRequest as PluginRequest
from macvfast.requests.endpoints import SandboxRequest as SandboxRequest
from macvfast.requests.endpoints import is_gw_priority as is_gw_priority
from macvfast.requests.networks import NetworkRequest as NetworkRequest
from macvfast.requests.networks import UpdateRequest as UpdateRequest
