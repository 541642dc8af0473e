"""The core on a virtual clock: what would happen, told in seconds instead of days."""

from scheduler.simulate.contention import Contention as Contention
from scheduler.simulate.script import Script as Script
from scheduler.simulate.site import Card as Card
from scheduler.simulate.world import Due as Due
from scheduler.simulate.world import SimulatedWorld as SimulatedWorld
from scheduler.simulate.world import Ticked as Ticked
