"""Dates and shares on the command line."""

from __future__ import annotations

import click

from gateway.times import parse_day, parse_time
from lacak.settings import load_settings


class Date(click.ParamType):
    """A date (its start in the deployment's zone; with `whole_day` its end) or a time with an offset, as ms."""

    name = "date"

    def __init__(self, whole_day: bool = False) -> None:
        self._whole_day = whole_day

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if isinstance(value, int):
            return value
        text = str(value)
        try:
            day = parse_day(text, load_settings(need_servers=False).zone_info)
            return day[self._whole_day] if day else parse_time(text)
        except ValueError:
            self.fail(
                f"{text!r} is neither a date such as 2021-10-21 nor a time such as 2021-10-21T08:00:00+07:00.",
                param,
                ctx,
            )


class Share(click.ParamType):
    """A share: `2%`, `2 %` or 0.02, as a number from 0 to 1."""

    name = "share"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> float:
        text = str(value).strip()
        try:
            share = float(text.removesuffix("%")) / 100 if text.endswith("%") else float(text)
        except ValueError:
            share = -1.0
        if not 0.0 <= share <= 1.0:
            self.fail(f"{text!r} is no share such as 2% or 0.02.", param, ctx)
        return share
