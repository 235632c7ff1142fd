#!/usr/bin/env python3
"""Recomputes arrival mids and interval benchmarks of a demo from its market file.

    fillstream demo --market FILE.csv.gz --keep
    fillstream tail execution.quality.v1 --from beginning --until-end --json | tests/recompute.py FILE.csv.gz -

Of each row of execution.quality.v1 only instrument_id, arrived_at and interval_end are used as input; everything else
comes from the file (ts_us,symbol,kind,bid,ask,bid_size,ask_size,price,size,venue; plain or gzip):

- reference venue: the one with most quotes of the symbol, of equals the first by name;
- mid at t: (bid + ask) / 2 of the last two-sided quote with ts_us <= t, of equal times the later line: compared exactly;
- VWAP and volume: trades with a size, arrived_at <= ts_us < interval_end;
- TWAP: the prevailing mid over time, carried in from before arrived_at and up to interval_end.

Averages are compared to 1e-9 relative, volumes and numbers of prints exactly. Exit code: 0 all equal and at least
--min-orders orders compared, 1 a difference or too few, 2 unreadable input. Python's standard library only.
"""

import argparse
import bisect
import csv
import gzip
import io
import json
import sys
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from fractions import Fraction

UNIT = 10**8  # prices and sizes have at most 8 digits
RELATIVE = Fraction(1, 10**9)
EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)


class BadInput(Exception):
    """The file or a row cannot be read; the text names the place."""


def units(text, where):
    scaled = Decimal(text).scaleb(8)
    if scaled != scaled.to_integral_value():
        raise BadInput(f"{where}: {text} has more than 8 digits")
    return int(scaled)


class Series:
    """Quotes and trades of one symbol at one venue, with running sums in whole units."""

    def __init__(self):
        self.quotes = 0  # all of them, one-sided too
        self.quote_ts, self.twice_mid, self.area = [], [], []
        self.trade_ts, self.volume, self.notional = [], [0], [0]
        self.unsized = 0

    def quote(self, ts, bid, ask):
        last = len(self.quote_ts) - 1
        area = self.area[last] + self.twice_mid[last] * (ts - self.quote_ts[last]) if last >= 0 else 0
        self.quote_ts.append(ts)
        self.twice_mid.append(bid + ask)
        self.area.append(area)

    def trade(self, ts, price, size):
        self.trade_ts.append(ts)
        self.volume.append(self.volume[-1] + size)
        self.notional.append(self.notional[-1] + price * size)

    def prevailing(self, at):
        return bisect.bisect_right(self.quote_ts, at) - 1

    def mid(self, at):
        i = self.prevailing(at)
        return None if i < 0 else Fraction(self.twice_mid[i], 2 * UNIT)

    def area_to(self, at):
        i = self.prevailing(at)
        return self.area[i] + self.twice_mid[i] * (at - self.quote_ts[i])

    def twap(self, start, end):
        if end <= start or self.prevailing(start) < 0:
            return None
        return Fraction(self.area_to(end) - self.area_to(start), 2 * UNIT * (end - start))

    def prints(self, start, end):
        """(number, volume, VWAP or None) of [start, end)."""
        a = bisect.bisect_left(self.trade_ts, start)
        b = max(a, bisect.bisect_left(self.trade_ts, end))
        volume, notional = self.volume[b] - self.volume[a], self.notional[b] - self.notional[a]
        return b - a, Fraction(volume, UNIT), Fraction(notional, volume * UNIT) if volume else None


def read_market(path):
    """The series of every symbol at its reference venue, and that venue."""
    with open(path, "rb") as probe:
        zipped = probe.read(2) == b"\x1f\x8b"
    raw = gzip.open(path, "rb") if zipped else open(path, "rb")
    series = {}
    with io.TextIOWrapper(raw, encoding="utf-8", newline="") as text:
        for n, row in enumerate(csv.DictReader(text), start=2):
            where = f"{path}:{n}"
            try:
                ts, key = int(row["ts_us"]), (row["symbol"], row["venue"])
                s = series.setdefault(key, Series())
                if row["kind"] == "quote":
                    s.quotes += 1
                    if row["bid"] and row["ask"]:
                        s.quote(ts, units(row["bid"], where), units(row["ask"], where))
                elif row["kind"] == "trade":
                    if row["size"]:
                        s.trade(ts, units(row["price"], where), units(row["size"], where))
                    else:
                        s.unsized += 1
                else:
                    raise BadInput(f"{where}: kind {row['kind']!r}")
            except (KeyError, TypeError, ValueError, ArithmeticError) as e:
                raise BadInput(f"{where}: {e}") from e
    reference = {}
    for symbol, venue in sorted(series):
        best = reference.get(symbol)
        if best is None or series[symbol, venue].quotes > series[symbol, best].quotes:
            reference[symbol] = venue
    return {symbol: (venue, series[symbol, venue]) for symbol, venue in reference.items()}


def micros(value):
    if isinstance(value, int):
        return value
    return (datetime.fromisoformat(value.replace("Z", "+00:00")) - EPOCH) // timedelta(microseconds=1)


def number(text):
    return None if text is None else Fraction(Decimal(text))


def near(found, expected):
    if found is None or expected is None:
        return found is expected
    return abs(found - expected) <= abs(expected) * RELATIVE


class Comparison:
    """Counts what was compared, and says what differs."""

    def __init__(self, market):
        self.market = market
        self.compared = {"arrival mids": 0, "interval VWAPs": 0, "interval TWAPs": 0, "empty intervals": 0, "volumes": 0}
        self.worst = {"interval VWAPs": Fraction(0), "interval TWAPs": Fraction(0)}
        self.orders, self.symbols, self.rows, self.refused, self.differences = set(), {}, 0, 0, 0

    def row(self, row):
        self.rows += 1
        symbol, start, end = row["instrument_id"], micros(row["arrived_at"]), micros(row["interval_end"])
        if symbol not in self.market:
            self.differ(row, "instrument", symbol, "not in the file")
            return
        series = self.market[symbol][1]
        self.orders.add(row["order_id"])
        self.symbols[symbol] = self.symbols.get(symbol, 0) + 1
        self.check(row, "arrival mids", "arrival_mid", series.mid(start), lambda a, b: a == b)
        if any(r.startswith("BENCHMARK_MISSING") for r in row.get("recommendations", [])):
            self.refused += 1
            return
        prints, volume, vwap = series.prints(start, end)
        if row["interval_prints"] != prints:
            self.differ(row, "interval_prints", row["interval_prints"], prints)
        self.check(row, "volumes", "interval_volume", volume, lambda a, b: a == b)
        twap = series.twap(start, end)
        for what, field, expected in [("interval VWAPs", "interval_vwap", vwap), ("interval TWAPs", "interval_twap_mid", twap)]:
            self.check(row, what if expected is not None else "empty intervals", field, expected, near)

    def check(self, row, what, field, expected, equal):
        found = number(row[field])
        self.compared[what] += 1
        if not equal(found, expected):
            self.differ(row, field, row[field], "null" if expected is None else f"{float(expected)!r} ({expected})")
        elif what in self.worst and expected:
            self.worst[what] = max(self.worst[what], abs(found / expected - 1))

    def differ(self, row, field, found, expected):
        self.differences += 1
        if self.differences <= 20:
            print(f"DIFFERENT {row['order_id']} {row['instrument_id']} [{row['arrived_at']}, {row['interval_end']}) {field}: {found}, from the file {expected}")

    def report(self):
        for symbol in sorted(self.symbols):
            venue, series = self.market[symbol]
            print(f"{symbol:<14} at {venue:<13} {self.symbols[symbol]:>5} rows  {series.quotes} quotes, {len(series.trade_ts)} trades with a size, {series.unsized} without")
        for what, count in self.compared.items():
            worst = f", worst relative difference {float(self.worst[what]):.1e}" if what in self.worst else ""
            print(f"{what:<16} {count:>5} compared{worst}")
        print(f"{self.rows} rows of {len(self.orders)} orders, {self.refused} intervals not answered by the pipeline, {self.differences} differences")


def rows_of(path):
    """Values of the records of `fillstream tail --json`, or bare values, a line each."""
    source = sys.stdin if path == "-" else open(path, encoding="utf-8")
    with source:
        for n, line in enumerate(source, start=1):
            if line.strip():
                try:
                    record = json.loads(line)
                except ValueError as e:
                    raise BadInput(f"{path}:{n}: {e}") from e
                yield record.get("value", record)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("market", help="market file, plain or gzip")
    parser.add_argument("quality", help="rows of execution.quality.v1 as JSON lines; - reads standard input")
    parser.add_argument("--min-orders", type=int, default=1, help="fewer compared orders fail [default: 1]")
    args = parser.parse_args()
    try:
        comparison = Comparison(read_market(args.market))
        for row in rows_of(args.quality):
            comparison.row(row)
    except (BadInput, OSError, KeyError) as e:
        print(f"error: {e!r}" if isinstance(e, KeyError) else f"error: {e}", file=sys.stderr)
        return 2
    comparison.report()
    if len(comparison.orders) < args.min_orders:
        print(f"only {len(comparison.orders)} orders, {args.min_orders} wanted")
        return 1
    return 1 if comparison.differences else 0


if __name__ == "__main__":
    sys.exit(main())
