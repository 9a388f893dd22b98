"""Good requests, by route, for the contract: a test sends each of them."""

from __future__ import annotations

from typing import Any, Final

_PERSON: Final = "p1:5f3c0a9be2d14c7781aa03c9d1e0f6b2"
_CHILD: Final = "p1:0b77c1d2e3f4051627384950a1b2c3d4"
_VENUES: Final = "venue,name,category,capacity,within\nmall-1,Mal Kota,mall,1200,\nshop-1,Toko Satu,shop,40,mall-1\n"

EXAMPLES: Final[dict[str, dict[str, Any]]] = {
    "/v1/scans": {
        "in": {"person": _PERSON, "venue": "mall-1"},
        "out": {"person": _PERSON, "venue": "mall-1", "kind": "out"},
        "group": {"person": _PERSON, "venue": "mall-1", "children": [{"person": _CHILD, "age_band": "6-11"}]},
        "list": [
            {"person": _PERSON, "venue": "mall-1", "kind": "in", "at_ms": 1634781600000, "scan_id": "gate-4-000127"},
            {"person": _PERSON, "venue": "mall-1", "kind": "out", "at_ms": 1634785200000, "scan_id": "gate-4-000131"},
        ],
    },
    "/v1/answers": {"admitted": {"ticket": "5f3c0a9be2d14c7781aa03c9", "admitted": True}},
    "/v1/recounts": {
        "counted": {"venue": "mall-1", "inside": 412},
        "everyone out": {"venue": "mall-1", "everyone_out": True},
    },
    "/v1/cards": {"typed": {"venue": "mall-1", "typed_id": _PERSON}},
    "/v1/declarations": {
        "abroad": {
            "person": _PERSON,
            "start_ms": 1634000000000,
            "end_ms": 1634500000000,
            "place": "Singapore",
            "country": "SG",
        },
        "at a venue": {
            "person": _PERSON,
            "start_ms": 1634700000000,
            "end_ms": 1634703600000,
            "venue": "mall-1",
        },
    },
    "/v1/venues": {
        "shop": {"venue": "shop-7", "name": "Toko Tujuh", "category": "shop", "capacity": 40, "within": "mall-1"},
        "harbour": {
            "venue": "bakauheni",
            "name": "Pelabuhan Bakauheni",
            "category": "ferry_terminal",
            "region": "ID-LA",
            "route": "ID-LA > ID-BT",
        },
    },
    "/v1/venues/import": {"file": _VENUES},
}
