"""Dates and shares on the command line."""

from __future__ import annotations

from datetime import datetime

import click

from gateway.files import parse_time
from lacak.settings import load_settings


class Date(click.ParamType):
    """A date (midnight in the deployment's zone) or a time with an offset, as ms."""

    name = "date"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if isinstance(value, int):
            return value
        text = str(value)
        try:
            if len(text) == 10:
                day = datetime.strptime(text, "%Y-%m-%d")
                return round(day.replace(tzinfo=load_settings(need_servers=False).zone_info).timestamp() * 1000)
            return parse_time(text)
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
