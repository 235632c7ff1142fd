"""Writes decisions to a running fillstream as an upstream in Python would, and checks what becomes of them.

Needs confluent-kafka[avro] (see tests/live.rs). Arguments: the binary, then the line of JSON that `fillstream live-world`
printed. Ends with 0 and one JSON object on standard output when everything is as it must be.
"""

import json
import os
import struct
import subprocess
import sys
import time
import urllib.request
import uuid
from decimal import Decimal

from confluent_kafka import Producer
from confluent_kafka.schema_registry import SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroSerializer
from confluent_kafka.serialization import MessageField, SerializationContext

TOPIC = "coordination.decisions.v1"
DEADLINE_S = 60
RUN = uuid.uuid4().hex[:8]


class Failure(Exception):
    """Something is not as it must be."""


class Fillstream:
    """The command line, against the world's services."""

    def __init__(self, binary, world):
        self.binary = binary
        names = {"FILLSTREAM_KAFKA": "kafka", "FILLSTREAM_REGISTRY": "registry", "FILLSTREAM_CLICKHOUSE": "clickhouse"}
        self.env = {**os.environ, **{name: world[key] for name, key in names.items()}}

    def run(self, *args, text=None):
        return subprocess.run([self.binary, *args], env=self.env, input=text, capture_output=True, text=True, timeout=60, check=False)

    def lines(self, *args):
        done = self.run(*args)
        if done.returncode:
            raise Failure(f"fillstream {' '.join(args)}: {done.stderr}")
        return [json.loads(line) for line in done.stdout.splitlines()]

    def topic(self, topic):
        return [r["value"] for r in self.lines("tail", topic, "--json", "--from", "beginning", "--until-end")]

    def dead_letters(self):
        return self.lines("dlq", "list", "--json")


def until(what, look):
    """The first truthy answer of `look`."""
    deadline = time.monotonic() + DEADLINE_S
    while True:
        found = look()
        if found:
            return found
        if time.monotonic() >= deadline:
            raise Failure(f"{what}: not within {DEADLINE_S} s")
        time.sleep(0.2)


def require(holds, what):
    if not holds:
        raise Failure(what)


class Upstream:
    """confluent-kafka with its default partitioner and its Avro serializer."""

    def __init__(self, world):
        registry = SchemaRegistryClient({"url": world["registry"]})
        registered = registry.get_latest_version(f"{TOPIC}-value")
        self.schema_id = registered.schema_id
        options = {"auto.register.schemas": False, "use.latest.version": True}
        self.serializer = AvroSerializer(registry, registered.schema.schema_str, conf=options)
        self.producer = Producer({"bootstrap.servers": world["kafka"]})

    def encode(self, decision):
        return self.serializer(decision, SerializationContext(TOPIC, MessageField.VALUE))

    def send(self, value, key):
        errors, sent = [], []

        def delivered(error, message):
            errors.extend([error] if error else [])
            sent.append((message.partition(), message.offset()))

        self.producer.produce(TOPIC, key=key.encode(), value=value, on_delivery=delivered)
        left = self.producer.flush(30)
        require(left == 0 and not errors, f"not delivered: {errors}")
        return sent[0]

    def decide(self, decision):
        return self.send(self.encode(decision), decision["portfolio_id"])


def decision(name, portfolio, quantity="10", instrument="ACME"):
    return {
        "event_id": f"{RUN}-{name}",
        "timestamp": int(time.time() * 1e6),
        "portfolio_id": portfolio,
        "decision": {"instrument_id": instrument, "action": "BUY", "share_quantity": Decimal(quantity), "priority": "NORMAL"},
        "execution_strategy": {"order_type": "MARKET", "execution_algorithm": "MARKET", "urgency": "HIGH"},
        "confidence": 0.75,
    }


class Checks:
    def __init__(self, fillstream, upstream, stages):
        self.fs, self.up, self.stages = fillstream, upstream, stages
        self.done = []

    def orders(self, event_id):
        return [o for o in self.fs.topic("execution.orders.v1") if o["decision_event_id"] == event_id]

    def rejection(self, event_id):
        rejected = lambda: [o for o in self.orders(event_id) if o["event_type"] == "REJECTED"]
        found = until(f"{event_id} rejected", rejected)
        require(len(found) == 1, f"{event_id}: {len(found)} rejections")
        return found[0]["reason_code"]

    def flows(self, name, portfolio):
        """A good decision reaches a child order."""
        self.send_good(decision(name, portfolio))

    def send_good(self, good):
        self.up.decide(good)
        event = good["event_id"]
        first = until(f"{event} becomes an order", lambda: self.orders(event))[0]
        require(first["event_type"] != "REJECTED", f"{event} is refused: {first['reason_code']}: {first}")
        children = lambda: [c for c in self.fs.topic("execution.child-orders.v1") if c["order_id"] == first["order_id"]]
        until(f"{event} reaches a child order", children)
        return first

    def dead(self, where, code):
        at = lambda: [d for d in self.fs.dead_letters() if d["topic"] == TOPIC and (d["partition"], d["offset"]) == where]
        found = until(f"dead letter of {where}", at)
        require(len(found) == 1, f"{where}: {len(found)} dead letters")
        require(found[0]["reason_code"] == code, f"{where}: {found[0]['reason_code']}, not {code}: {found[0]}")

    def passed(self, what):
        self.done.append(what)
        print(what, file=sys.stderr)

    def repeats(self):
        good = decision("first", "P03")
        self.send_good(good)
        self.passed("a decision flows to a child order")
        terminal = lambda: any(o["is_terminal"] for o in self.orders(good["event_id"]))
        until("the first order ends", terminal)
        before = self.orders(good["event_id"])
        self.up.decide(good)
        # One partition, in order: what comes after it has gone through when this one has.
        self.flows("after-repeat", "P03")
        require(self.orders(good["event_id"]) == before, "a repeat changed something")
        self.passed("an identical repeat changes nothing")
        other = decision("first", "P03", quantity="20")
        other["timestamp"] = good["timestamp"]
        self.up.decide(other)
        conflict = lambda: [o for o in self.orders(good["event_id"]) if o["reason_code"] == "DUPLICATE_CONFLICT"]
        found = until("a conflict", conflict)
        require([o["event_type"] for o in found] == ["REJECTED"], f"a conflict gives {found}")
        self.passed("the same event_id with other content is DUPLICATE_CONFLICT")

    def damaged(self):
        good = lambda name: self.up.encode(decision(name, "P03"))
        raw = good("nan")
        # confidence is the last field: the branch of its union, then eight bytes.
        nan = raw[:-8] + struct.pack("<d", float("nan"))
        require(raw[-8:] == struct.pack("<d", 0.75), "confidence is not where it was")
        cases = [
            ("bad magic", b"\x01" + good("magic")[1:], "BAD_FRAME"),
            ("unknown schema id", b"\x00" + struct.pack(">I", 2_000_000_000) + good("id")[5:], "UNKNOWN_SCHEMA_ID"),
            ("truncated", good("short")[:-9], "DECODE"),
            ("NaN", nan, "DECODE"),
        ]
        for name, value, code in cases:
            self.dead(self.up.send(value, "P03"), code)
            self.flows(f"after-{name.replace(' ', '-')}", "P03")
            self.passed(f"{name}: one dead letter {code}, the next record flows")

    def invalid(self):
        cases = [
            ("negative quantity", {"quantity": "-10"}, "INVALID_QUANTITY"),
            ("unknown instrument", {"instrument": "NOSUCH"}, "UNKNOWN_INSTRUMENT"),
        ]
        for name, fields, code in cases:
            bad = decision(name.replace(" ", "-"), "P04", **fields)
            self.up.decide(bad)
            got = self.rejection(bad["event_id"])
            require(got == code, f"{name}: {got}, not {code}")
            self.flows(f"after-{bad['event_id']}", "P04")
            self.passed(f"{name}: one rejection {code}, the next record flows")

    def decide_refuses(self):
        plain = decision("cli", "P05")
        plain["decision"]["share_quantity"] = 10
        # Python's JSON writes NaN as it is.
        plain["confidence"] = float("nan")
        done = self.fs.run("decide", "-", text=json.dumps(plain))
        require(done.returncode == 1 and "confidence" in done.stderr, f"decide with NaN: {done.returncode}: {done.stderr}")
        plain["confidence"] = 0.5
        plain["timestamp"] = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        done = self.fs.run("decide", "-", text=json.dumps(plain))
        require(done.returncode == 0, f"decide: {done.stderr}")
        until("the decision of decide", lambda: self.orders(plain["event_id"]))
        self.passed("decide refuses NaN naming the field, and takes the rest")

    def kill(self):
        require(self.fs.run("kill", "portfolio/P01", "--actor", "ann", "--reason", "test").returncode == 0, "kill")
        # The control is read from a table: a decision may still pass before it arrives there.
        tries = iter(range(1000))

        def killed():
            probe = decision(f"killed-{next(tries)}", "P01")
            self.up.decide(probe)
            seen = until("an answer", lambda: self.orders(probe["event_id"]))
            return [o for o in seen if o["event_type"] == "REJECTED" and o["reason_code"] == "KILLED"]

        until("KILLED", killed)
        self.flows("other-portfolio", "P02")
        one = self.fs.run("release", "portfolio/P01", "--actor", "ann", "--second", "ann", "--reason", "alone")
        require(one.returncode == 1, "one person released a kill")
        done = self.fs.run("release", "portfolio/P01", "--actor", "ann", "--second", "bob", "--reason", "fixed")
        require(done.returncode == 0, f"release: {done.stderr}")

        def released():
            probe = decision(f"released-{next(tries)}", "P01")
            self.up.decide(probe)
            return until("an answer", lambda: self.orders(probe["event_id"]))[0]["event_type"] != "REJECTED"

        until("flowing again", released)
        self.passed("a killed portfolio is KILLED, others flow; two people release it")

    def partitions(self):
        """Python's default partitioner is not murmur2: some records arrive on another partition and are forwarded."""
        for n in range(1, 14):
            self.up.decide(decision(f"spread-{n}", f"P{n:02}"))
        for n in range(1, 14):
            event = f"{RUN}-spread-{n}"
            until(f"{event} becomes an order", lambda event=event: self.orders(event))
        with urllib.request.urlopen(f"{self.stages}/metrics", timeout=10) as answer:
            lines = answer.read().decode().splitlines()
        forwards = sum(float(line.split()[-1]) for line in lines if line.startswith("fillstream_forwards_total"))
        require(forwards > 0, "no record was on another partition: the test shows nothing")
        self.passed("every portfolio's decision arrives whatever partition it was written to")


def main():
    binary, world = sys.argv[1], json.loads(sys.argv[2])
    checks = Checks(Fillstream(binary, world), Upstream(world), world["stages"])
    for check in (checks.repeats, checks.damaged, checks.invalid, checks.decide_refuses, checks.kill, checks.partitions):
        check()
    print(json.dumps({"passed": checks.done}))


if __name__ == "__main__":
    try:
        main()
    except Failure as failure:
        sys.exit(f"FAILED: {failure}")
