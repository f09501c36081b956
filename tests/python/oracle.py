"""Recomputes summary.json from events.csv, for runs made with `--events full`, and says where the two differ.

    oracle.py RUN_FOLDER...

It shares no code with closestorm: the life of each client is replayed from its events, quantiles with censoring are Kaplan-Meier
estimates by lifelines, the others by numpy. Counts must be equal. A time may be off by the width of its histogram bucket, at
most 1/1024 of it (HdrHistogram, 3 digits). What is not compared, because events.csv does not have it: `generator`, `notices`,
`verdict` and what the scenario says of itself. Exit code 0: all agree; 1: the differences are printed, a line each.
"""

import collections
import csv
import json
import math
import pathlib
import shlex
import sys
import tomllib

import numpy
from lifelines import KaplanMeierFitter

# An injector in another process reads the same clock at another place of its code: it may seem this much later than its effect, us.
SLACK = 1000
# Quantiles are stated from this many samples on: ceil(ln 0.05 / ln q), which is when a one-sided 95 % bound of them exists.
NEEDED = {q: math.ceil(math.log(0.05) / math.log(q)) for q in (0.5, 0.9, 0.99, 0.999)}
# Kinds that act on server processes: what speaks for a server that was killed is its injector.
# Kinds after which a connection is dead while its client may not know.
SILENT = {"blackhole", "freeze", "client_sleep"}
PROCESS = {"server_crash", "server_pause", "server_graceful", "server_restart_rolling"}
FOREVER = 1e15


class Times:
    """Samples of one distribution in us: ended, censored (longer than that), never (of clients that gave up)."""

    def __init__(self):
        self.ended, self.censored, self.never = [], [], 0

    def add(self, other):
        self.ended += other.ended
        self.censored += other.censored
        self.never += other.never

    def count(self):
        return len(self.ended) + len(self.censored) + self.never

    def quantile(self, q):
        """The least time by which a share q has ended; None: not reached."""
        if not self.ended:
            return None
        if not self.censored and not self.never:
            return float(numpy.quantile(numpy.array(self.ended), q, method="inverted_cdf"))
        times = self.ended + self.censored + [FOREVER] * self.never
        observed = [1] * len(self.ended) + [0] * (len(self.censored) + self.never)
        fitter = KaplanMeierFitter().fit(times, observed)
        survival = fitter.survival_function_.iloc[:, 0]
        reached = survival.index[survival.to_numpy() <= 1 - q + 1e-9]
        return None if len(reached) == 0 or reached[0] >= FOREVER else float(reached[0])

    def summary(self):
        complete = not self.censored and not self.never
        stated = {f"p{str(q)[2:].ljust(2, '0')}": self.quantile(q) if self.count() >= n else None for q, n in NEEDED.items()}
        return {
            "count": self.count(),
            "censored": len(self.censored),
            "min": min(self.ended, default=None),
            **stated,
            "max": max(self.ended, default=None) if complete else None,
            "mean": sum(self.ended) / len(self.ended) if self.ended and complete else None,
        }


class Client:
    """One client, as far as its events have told."""

    def __init__(self, index, cohort):
        self.index, self.cohort = index, cohort
        self.attempts = 0
        self.attempting = self.open = self.ever_opened = self.ever_ready = self.lost = False
        self.connection = 0
        self.injected = {}  # by connection: (when, fault) of the last one
        self.outage = None
        self.pending = {}  # sent and unanswered, by (due, sent)


def details(text):
    """The pairs of the column `detail`."""
    pairs = {}
    for part in shlex.split(text):
        key, _, value = part.partition("=")
        pairs[key] = value
    return pairs


def code(text):
    return None if text in (None, "none", "") else int(text)


class Run:
    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        self.summary = json.loads((self.folder / "summary.json").read_text())
        scenario = tomllib.loads((self.folder / "scenario.toml").read_text())
        self.cohorts = list(scenario["clients"])
        self.clients = []
        for name, cohort in scenario["clients"].items():
            self.clients += [Client(len(self.clients) + number, name) for number in range(cohort["count"])]
        self.kinds = {row["id"]: row["kind"] for row in self.summary["faults"]}
        self.end = self.summary["measured_ms"] * 1000
        self.counts = collections.Counter()
        self.times = collections.defaultdict(Times)  # by (metric, cohort, fault)
        self.faults = collections.defaultdict(collections.Counter)
        self.firings = collections.defaultdict(set)  # by fault
        self.first_fired = {}
        self.ended = {}  # by (client, connection): account of the client
        self.server_ended = {}
        self.reasons = collections.Counter()
        self.begun = collections.defaultdict(list)  # attempts by cohort
        self.statuses = collections.Counter()
        self.outages = []
        self.peak_open = collections.Counter()
        self.now_open = collections.Counter()
        with (self.folder / "events.csv").open(newline="") as file:
            for row in csv.DictReader(file):
                self.take(int(row["offset_us"]), row["event"], row)
        self.finish()

    def count(self, cohort, what, n=1):
        self.counts[cohort, what] += n

    def time(self, metric, cohort, fault, value=None, censored=None):
        times = self.times[metric, cohort, fault]
        if value is not None:
            times.ended.append(value)
        if censored is not None:
            times.censored.append(censored)

    def take(self, at, event, row):
        detail = details(row["detail"])
        client = self.clients[int(row["client"])] if row["client"] else None
        connection = int(row["connection"]) if row["connection"] else None
        fault = row["fault"] or None
        handler = getattr(self, "on_" + event, None)
        if handler:
            handler(at, client, connection, fault, detail, row)

    # Attempts

    def on_attempt_started(self, at, client, _connection, _fault, _detail, _row):
        self.count(client.cohort, "started", client.attempts == 0)
        client.attempts += 1
        client.attempting = True
        client.connection = client.attempts
        self.count(client.cohort, "attempts")
        self.begun[client.cohort].append(at)
        if client.outage:
            client.outage["attempts"] += 1
            self.phase(client, at, "attempt")

    def on_attempt_failed(self, at, client, _connection, fault, detail, _row):
        client.attempting = False
        outcome = detail["outcome"]
        self.count(client.cohort, outcome)
        if outcome == "rejected":
            self.statuses[detail["status"]] += 1
        of = client.outage["fault"] if client.outage else None
        if outcome in ("timed_out", "abandoned"):
            self.cut_attempt(client, detail)
        if client.outage:
            self.phase(client, at, "wait")

    def cut_attempt(self, client, detail):
        """What of an attempt had ended is a time, what was under way took longer."""
        of = client.outage["fault"] if client.outage else None
        for metric, key in (("tcp_connect", "tcp_us"), ("tls", "tls_us")):
            if key in detail:
                self.time(metric, client.cohort, of, int(detail[key]))
        metric = {"tcp": "tcp_connect", "tls": "tls", "upgrade": "opening_handshake"}[detail["stage"]]
        self.time(metric, client.cohort, of, censored=int(detail["elapsed_us"]))

    def on_cut(self, _at, client, _connection, _fault, detail, _row):
        """The end of the measurement found this under way."""
        if "stage" in detail:
            if client.attempting:
                self.cut_attempt(client, detail)
        elif client.open:
            acted = client.injected.get(client.connection)
            self.closing(client.cohort, acted[1] if acted else None, detail, False)

    def closing(self, cohort, fault, detail, ended):
        total = int(detail["closing_us"])
        if "close_ack_us" in detail:
            ack = int(detail["close_ack_us"])
            self.time("close_ack", cohort, fault, ack)
            for metric, value in (("closing_handshake", total), ("fin_wait", total - ack)):
                self.time(metric, cohort, fault, **({"value": value} if ended else {"censored": value}))
        else:
            self.time("close_ack", cohort, fault, censored=total)
            self.time("closing_handshake", cohort, fault, censored=total)

    def on_opened(self, at, client, connection, _fault, detail, _row):
        client.attempting, client.open, client.ever_opened, client.connection = False, True, True, connection
        self.count(client.cohort, "opened")
        self.now_open[client.cohort] += 1
        self.now_open[None] += 1
        for key in (client.cohort, None):
            self.peak_open[key] = max(self.peak_open[key], self.now_open[key])
        of = client.outage["fault"] if client.outage else None
        self.time("tcp_connect", client.cohort, of, int(detail["tcp_us"]))
        self.time("opening_handshake", client.cohort, of, int(detail["upgrade_us"]))
        if "tls_us" in detail:
            self.time("tls", client.cohort, of, int(detail["tls_us"]))
        if client.outage:
            self.phase(client, at, "reply")

    def on_ready(self, at, client, *_):
        if not client.ever_ready:
            client.ever_ready = True
            self.count(client.cohort, "ready")
        if client.outage:
            self.phase(client, at, None)
            client.outage["ready"] = at
            self.outages.append(client.outage)
            client.outage = None

    # Endings

    def phase(self, client, at, to):
        """Books the time since the last change into the phase that ends."""
        outage = client.outage
        spent = max(at - outage["mark"], 0)
        if outage["phase"] == "wait" and not outage["gave_up"]:
            outage["backoff"] += spent
        elif outage["phase"] in ("attempt", "reply"):
            outage["attempt"] += spent
        if not (outage["phase"] == "wait" and outage["gave_up"] and to == "wait"):
            outage["mark"], outage["phase"] = max(at, outage["mark"]), to

    def on_injected(self, at, client, connection, fault, _detail, _row):
        self.faults[fault]["injected"] += 1
        client.injected[connection] = max(client.injected.get(connection, (0, "")), (at, fault), key=lambda one: one[0])
        for outage in [client.outage] if client.outage else []:
            self.amend(outage, connection, at, fault)

    def amend(self, outage, connection, at, fault):
        if outage["connection"] == connection and at <= outage["detected"] + SLACK:
            outage["at"], outage["fault"] = min(at, outage["detected"]), fault

    def on_ended(self, at, client, connection, _fault, detail, row):
        client.open = False
        self.now_open[client.cohort] -= 1
        self.now_open[None] -= 1
        self.count(client.cohort, "closed")
        account = {key: detail.get(key) for key in ("cause", "initiator", "code", "wire_received", "wire_sent", "tcp_end", "mid_frame", "clean")}
        account["fault"] = row["fault"] or None
        self.ended[int(row["client"]), connection] = account
        self.reasons[int(detail["code"]), detail.get("reason", "")] += 1
        acted = client.injected.get(connection)
        of = account["fault"] or (acted[1] if acted else None)
        if "closing_us" in detail:
            self.closing(client.cohort, of, detail, account["tcp_end"] in ("fin", "rst"))
        for due, sent in client.pending:
            self.count(client.cohort, "lost_messages")
            self.time("rtt", client.cohort, None, censored=max(at - due, 0))
            self.time("rtt_from_sent", client.cohort, None, censored=max(at - sent, 0))
        client.pending.clear()
        if client.outage:
            self.phase(client, at, "wait")
            return
        if detail["cause"] == "stay":
            return
        named = row["fault"] or None
        client.outage = {
            "cohort": client.cohort, "connection": connection, "fault": named, "at": at, "detected": at, "mark": at, "phase": "wait",
            "backoff": 0, "attempt": 0, "attempts": 0, "gave_up": None, "ready": None, "client": client,
        }
        self.count(client.cohort, "affected")
        if acted:
            self.amend(client.outage, connection, *acted)

    def on_server_ended(self, _at, client, connection, _fault, detail, row):
        self.server_ended[int(row["client"]), connection] = {**detail, "fault": row["fault"] or None}

    def on_gave_up(self, at, client, *_):
        if not client.lost:
            client.lost = True
            self.count(client.cohort, "lost")
            if client.outage:
                self.phase(client, at, "wait")
                client.outage["gave_up"] = at

    # Messages

    def on_sent(self, at, client, _connection, _fault, detail, _row):
        due = int(detail["due_us"])
        self.count(client.cohort, "due")
        self.count(client.cohort, "sent")
        self.count(client.cohort, "sent_bytes", int(detail["bytes"]))
        if self.echoes(client.cohort):
            client.pending[due, at] = None

    def echoes(self, cohort):
        traffic = self.summary["cohorts"][cohort]
        return (traffic["messages"].get("answered", 0) or traffic["messages"].get("lost", 0) or traffic["messages"].get("unanswered", 0)) > 0

    def on_not_started(self, _at, client, *_):
        self.count(client.cohort, "due")
        self.count(client.cohort, "not_started")

    def on_echoed(self, at, client, _connection, _fault, detail, _row):
        due, sent = int(detail["due_us"]), int(detail["sent_us"])
        self.count(client.cohort, "answered")
        self.count(client.cohort, "received")
        client.pending.pop((due, sent), None)
        self.time("rtt", client.cohort, None, max(at - due, 0))
        self.time("rtt_from_sent", client.cohort, None, max(at - sent, 0))

    def on_received(self, _at, client, *_):
        self.count(client.cohort, "received")

    # Faults

    def on_fired(self, at, _client, _connection, fault, detail, _row):
        # Each server of a rolling restart has a row of the same firing.
        if detail["firing"] not in self.firings[fault]:
            self.firings[fault].add(detail["firing"])
            self.faults[fault]["fired"] += 1
        self.faults[fault]["selected"] += int(detail["selected"])
        self.first_fired.setdefault(fault, at)

    def on_reverted(self, _at, _client, _connection, fault, *_):
        self.faults[fault]["reverted"] += 1

    def on_reached(self, _at, _client, _connection, fault, *_):
        self.faults[fault]["injected"] += 1

    def finish(self):
        for client in self.clients:
            self.count(client.cohort, "open_at_end", client.open)
            self.count(client.cohort, "never_opened", client.attempts > 0 and not client.ever_opened)
            self.count(client.cohort, "abandoned", client.attempting)
            for due, sent in client.pending:
                self.count(client.cohort, "unanswered")
                self.time("rtt", client.cohort, None, censored=max(self.end - due, 0))
                self.time("rtt_from_sent", client.cohort, None, censored=max(self.end - sent, 0))
            if client.outage:
                self.outages.append(client.outage)
            acted, fault = client.injected.get(client.connection, (0, None))
            standing = self.faults[fault]["fired"] > self.faults[fault]["reverted"]
            if client.open and self.kinds.get(fault) in SILENT and standing:
                self.time("detect", client.cohort, fault, censored=self.end - acted)
        for outage in self.outages:
            # Evidence of servers and injectors may have come after the client's own account.
            client, connection = outage["client"], outage["connection"]
            if connection in client.injected:
                self.amend(outage, connection, *client.injected[connection])
            server = self.server_ended.get((client.index, connection))
            if outage["fault"] is None and server and server["cause"] in self.kinds:
                outage["fault"] = server["cause"]
            key = (outage["cohort"], outage["fault"])
            self.time("detect", *key, outage["detected"] - outage["at"])
            if outage["ready"] is not None:
                self.count(outage["cohort"], "recovered")
                self.count(outage["cohort"], "recovery_attempts", outage["attempts"])
                self.faults[outage["fault"]]["recovered"] += 1
                self.time("reconnect_time", *key, outage["ready"] - outage["at"])
                self.time("backoff", *key, outage["backoff"])
                self.time("attempt", *key, outage["attempt"])
            else:
                self.count(outage["cohort"], "censored")
                if outage["gave_up"] is not None:
                    self.times["reconnect_time", *key].never += 1
                else:
                    self.time("reconnect_time", *key, censored=self.end - outage["at"])

    # What summary.json should say

    def of(self, metric, cohort=None, fault="any"):
        sum_of = Times()
        for (name, of_cohort, of_fault), times in self.times.items():
            if name == metric and cohort in (None, of_cohort) and fault in ("any", of_fault):
                sum_of.add(times)
        return sum_of.summary()

    def total(self, what, cohort=None):
        return sum(n for (of_cohort, name), n in self.counts.items() if name == what and cohort in (None, of_cohort))

    def peak(self, length, cohort=None):
        """Most attempts that began within this many us."""
        begun = sorted(at for of, all_of in self.begun.items() if cohort in (None, of) for at in all_of)
        first, most = 0, 0
        for last, at in enumerate(begun):
            while begun[first] <= at - length:
                first += 1
            most = max(most, last - first + 1)
        return most

    def part(self, cohort=None):
        n = lambda what: self.total(what, cohort)
        clients = [client for client in self.clients if cohort in (None, client.cohort)]
        recovered = n("recovered")
        return {
            "clients": {
                "planned": len(clients), "started": n("started"), "ready": n("ready"), "never_opened": n("never_opened"),
                # Of several processes the peak is known at the ends of intervals only.
                **({"peak_open": self.peak_open[cohort]} if self.summary["generator"]["workers"] == 1 else {}), "open_at_end": n("open_at_end"), "lost": n("lost"),
            },
            "attempts": {
                "total": n("attempts"), **{what: n(what) for what in ("opened", "refused", "timed_out", "rejected", "failed", "abandoned")},
                # The bins of 1 ms that cover a second may take in what is up to 1 ms further apart.
                "peak_per_s": (self.peak(1_000_000, cohort), self.peak(1_001_000, cohort)),
            },
            "reconnect": {
                "affected": n("affected"), "recovered": recovered, "censored": n("censored"), "gave_up": n("lost"),
                "attempts_mean": n("recovery_attempts") / recovered if recovered else None,
                "time_us": self.of("reconnect_time", cohort), "detect_us": self.of("detect", cohort),
                "backoff_us": self.of("backoff", cohort), "attempt_us": self.of("attempt", cohort),
            },
            "messages": {
                **{what: n(what) for what in ("due", "not_started", "sent", "answered", "unanswered", "received")}, "lost": n("lost_messages"),
                "rtt_us": self.of("rtt", cohort), "rtt_from_sent_us": self.of("rtt_from_sent", cohort),
            },
        }

    def codes(self, cohort=None):
        counted = collections.Counter()
        for (client, _), account in self.ended.items():
            if cohort in (None, self.clients[client].cohort):
                counted[account["code"]] += 1
        return dict(counted)

    def server_codes(self):
        return dict(collections.Counter(account["code"] for key, account in self.server_ended.items() if key in self.ended))

    def endings(self):
        counted = collections.Counter()
        for (client, connection), account in self.ended.items():
            server = self.server_ended.get((client, connection))
            cause, fault, initiator = account["cause"], account["fault"], account["initiator"]
            made_by = None
            # The last fault that acted on the connection, also after its revert.
            acted = self.clients[client].injected.get(connection)
            fault = acted[1] if acted else fault
            if server:
                fault = fault or server["fault"]
                if initiator == "none" and cause == "remote":
                    initiator = server["initiator"]
                made_by = server["cause"] if server["cause"] in self.kinds else None
            else:
                made_by = acted[1] if acted and self.kinds.get(acted[1]) in PROCESS else None
            if cause == "remote" and made_by:
                cause, fault = made_by, fault or made_by
            counted[
                self.clients[client].cohort, cause, fault, initiator, code(account["wire_received"]), code(account["wire_sent"]),
                account["tcp_end"], account["mid_frame"] == "true", account["clean"] == "true", int(account["code"]),
                int(server["code"]) if server else None, server["tcp_end"] if server else None,
            ] += 1
        return counted

    def expected(self):
        whole = self.part()
        attempts = whole["attempts"]
        if "by_status" in self.summary["attempts"]:
            attempts["by_status"] = dict(self.statuses)
        return {
            **whole,
            "connections": {"opened": attempts["opened"], "closed": self.total("closed"), "open_at_end": self.total("open_at_end")},
            "close_codes": {"client": self.codes(), "server": self.server_codes()},
            **{f"{metric}_us": self.of(metric) for metric in ("opening_handshake", "tcp_connect", "tls", "closing_handshake", "close_ack", "fin_wait")},
            "cohorts": {name: {**self.part(name), "close_codes": self.codes(name)} for name in self.cohorts},
        }

    # Comparing

    def differences(self):
        yield from compare("", self.expected(), self.summary)
        told = collections.Counter()
        for row in self.summary["endings"]:
            told[
                row["cohort"], row["cause"], row["fault"], row["initiator"], row["wire_received"], row["wire_sent"], row["tcp_end"],
                row["mid_frame"], row["clean"], row["client_code"], row["server_code"], row["server_tcp_end"],
            ] += row["count"]
        for key in sorted(set(told) | set(self.endings()), key=str):
            if told[key] != self.endings()[key]:
                yield f"endings {key}: events say {self.endings()[key]}, the summary says {told[key]}"
        top = collections.Counter({(row["code"], row["reason"]): row["count"] for row in self.summary["close_reasons"]})
        for key, count in top.items():
            if self.reasons[key] != count:
                yield f"close_reasons {key}: events say {self.reasons[key]}, the summary says {count}"
        for row in self.summary["faults"]:
            mine, name = self.faults[row["id"]], row["id"]
            numbers = {
                "fired": mine["fired"], "injected": mine["injected"], "recovered": mine["recovered"],
                "selected": max(mine["selected"], mine["injected"]),
                "at_ms": self.first_fired[name] // 1000 if name in self.first_fired else None,
                "reconnect_us": self.of("reconnect_time", fault=name),
            }
            yield from compare(f"faults.{name}.", numbers, row)


def compare(place, mine, theirs):
    """Where what the events say is not what the summary says. Keys of the summary that the events do not have are not looked at."""
    for key, expected in mine.items():
        if key not in theirs:
            if key not in ("ready", "censored", "by_status"):
                yield f"{place}{key}: the summary does not have it"
            continue
        found = theirs[key]
        if isinstance(expected, dict) and set(expected) >= {"count", "p50"}:
            for number, value in expected.items():
                if number in found and not same_time(number, value, found[number]):
                    yield f"{place}{key}.{number}: events say {value}, the summary says {found[number]}"
        elif isinstance(expected, dict) and key in ("client", "server", "close_codes", "by_status") and not any(isinstance(v, dict) for v in expected.values()):
            if {str(k): v for k, v in expected.items()} != found:
                yield f"{place}{key}: events say {expected}, the summary says {found}"
        elif isinstance(expected, dict):
            yield from compare(f"{place}{key}.", expected, found)
        elif isinstance(expected, tuple):
            if not expected[0] <= found <= expected[1]:
                yield f"{place}{key}: events say {expected[0]} to {expected[1]}, the summary says {found}"
        elif isinstance(expected, float) and found is not None:
            if abs(expected - found) > 1e-9 * max(abs(expected), 1):
                yield f"{place}{key}: events say {expected}, the summary says {found}"
        elif expected != found:
            yield f"{place}{key}: events say {expected}, the summary says {found}"


def same_time(number, mine, theirs):
    if mine is None or theirs is None or number in ("count", "censored"):
        return mine == theirs
    # A histogram states the upper edge of the bucket; the mean is that of the middles of buckets.
    # Times in events.csv are cut to whole us, so a difference of two may be off by one more.
    return abs(mine - theirs) <= mine / 1024 + 2


def main(folders):
    wrong = 0
    for folder in folders:
        differences = list(Run(folder).differences())
        wrong += len(differences)
        print(f"{folder}: {'agrees' if not differences else f'{len(differences)} differences'}")
        for line in differences:
            print(f"  {line}")
    return 1 if wrong or not folders else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
