"""What is to be done, decided from values alone: may this link be the parent, which steps make an endpoint, which
endpoint holds the default route, what differs from what is wanted.

Pure: no clock, files, kernel or randomness. `engine` carries out the steps.
"""

from macvfast.plan.defaults import *
from macvfast.plan.endpoints import *
from macvfast.plan.links import *
from macvfast.plan.parents import *
from macvfast.plan.stacks import *
from macvfast.plan.steps import *
