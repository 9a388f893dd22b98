"""Names for made-up places, put together from plain Indonesian words. Any likeness to a real place is chance."""

from __future__ import annotations

from typing import Final

DISTRICTS: Final = (
    "Way Kenanga", "Tanjung Rindu", "Sukalaras", "Bumi Lestari", "Muara Selasih", "Karang Embun", "Pring Asih",
    "Sidodamai", "Labuhan Melati", "Gunung Sejuk", "Rawa Cempaka", "Kota Semai", "Wonosentosa", "Batu Pelangi",
    "Simpang Padi", "Teluk Aren", "Ulu Serayu",
)  # fmt: skip

_FIRST: Final = (
    "Bumi", "Sinar", "Karang", "Tunas", "Cahaya", "Mitra", "Surya", "Mekar", "Citra", "Bintang", "Puspa", "Sari",
    "Gita", "Kencana", "Mutiara", "Pelita", "Rimba", "Samudra", "Tirta", "Wira",
)  # fmt: skip
_SECOND: Final = (
    "Permai", "Jaya", "Asri", "Makmur", "Sejahtera", "Indah", "Lestari", "Abadi", "Sentosa", "Mulya", "Damai",
    "Raya", "Bahagia", "Utama", "Selaras", "Harapan", "Kemuning", "Melati", "Cempaka", "Seroja",
)  # fmt: skip
_WORSHIP: Final = (
    "Nurul Falah", "Al Ikhlas", "Baitul Amin", "Darul Hikmah", "Ar Rahmah", "Miftahul Huda", "Al Barokah",
    "Nurul Iman", "At Taqwa", "Babus Salam", "Al Muttaqin", "Nurul Hidayah",
)  # fmt: skip

_KINDS: Final[dict[str, tuple[str, ...]]] = {
    "office": ("Kantor", "Balai", "Graha", "Koperasi"),
    "school": ("SD", "SMP", "SMA", "Madrasah"),
    "worship": ("Masjid", "Masjid", "Masjid", "Musala"),
    "market": ("Pasar",),
    "mall": ("Mal", "Plaza"),
    "shop": ("Toko", "Minimarket", "Apotek", "Butik"),
    "restaurant": ("Rumah Makan", "Warung", "Pondok", "Dapur"),
    "fast_food": ("Ayam Goreng", "Burger", "Mi Cepat"),
    "bar": ("Kafe Malam", "Kedai"),
    "gym": ("Sanggar Senam", "Pusat Kebugaran"),
    "museum": ("Museum",),
    "cinema": ("Bioskop",),
    "hotel": ("Hotel", "Wisma", "Penginapan"),
    "ferry_terminal": ("Pelabuhan",),
    "ferry": ("KMP",),
}

PREFIXES: Final = {
    "office": "kantor", "school": "sekolah", "worship": "masjid", "market": "pasar", "mall": "mal", "shop": "toko",
    "restaurant": "resto", "fast_food": "saji", "bar": "kafe", "gym": "gym", "museum": "museum", "cinema": "bioskop",
    "hotel": "hotel", "ferry_terminal": "pelabuhan", "ferry": "kapal", "home": "rumah",
}  # fmt: skip
"""How the id of a venue of each category begins: `pasar-0003`."""


def place_name(category: str, number: int, district: str, draw: int) -> str:
    """A readable name for place `number` of a category. `draw` (any non-negative int) picks the words."""
    kinds = _KINDS[category]
    kind = kinds[draw % len(kinds)]
    draw //= len(kinds)
    if category == "school":
        return f"{kind} {district} {number + 1}"
    if category == "worship":
        return f"{kind} {_WORSHIP[draw % len(_WORSHIP)]} {district}"
    first = _FIRST[draw % len(_FIRST)]
    second = _SECOND[draw // len(_FIRST) % len(_SECOND)]
    where = "" if category in ("mall", "ferry", "ferry_terminal", "hotel") else f" {district}"
    return f"{kind} {first} {second}{where}"


def home_name(number: int, district: str) -> str:
    """The name on the door of household `number`: a lane and a number, nobody's name."""
    return f"Rumah Gang {_SECOND[number % len(_SECOND)]} {number // len(_SECOND) + 1}, {district}"
