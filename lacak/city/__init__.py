"""A made-up regency to play with: places, people, their days, an outbreak, and the scans that the doors send.

`City` is the whole of it; everything it makes is a function of its parameters and its seed. No place, person or
number in it is real: the shares and minutes are assumptions of a generator, written beside what they shape.
"""

from lacak.city.city import City
from lacak.city.truth import Infection, TrueStay, Truth

__all__ = ["City", "Infection", "TrueStay", "Truth"]
