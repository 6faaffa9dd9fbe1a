"""What can be seen to be wrong without a search.

Each check looks at all operations at once and returns texts. What they know of a READY is its data,
which each Ready has of its own.
"""

import collections

from history import MS
from spec import GRACE, SLACK

LIMIT_SLACK = 2_000 * MS  # how late a wait's own limit may be on a loaded machine
_LATCH, _MANY = "LATCH", 1 << 30


class HandOver:
    """A READY that an answer handed to a wait."""

    def __init__(self, op, name, side, answer):
        self.op, self.name, self.side, self.answer = op, name, side, answer
        self.key = (name, side, answer["data"])

    def __str__(self):
        return f"{self.answer['data']!r} delivery {self.answer['delivery']} by {self.op}"


def hand_overs(ops):
    for op in ops:
        if not op.ans or op.ans.get("outcome") != "READY" or op.again is not None:
            continue
        if op.kind == "wait":
            yield HandOver(op, op.names[0], op.sides()[0], op.ans)
        elif op.kind == "poll":
            modes = op.req.get("modes") or [op.mode] * len(op.names)
            for target, answer in op.ans["results"]:
                yield HandOver(op, op.names[target], modes[target] - 1, answer)


def check(ops):
    handed = list(hand_overs(ops))
    latches = {op.names[0] for op in ops
               if _LATCH in (op.req.get("kind"), op.req.get("open"), (op.ans or {}).get("kind"))}
    wrong = []
    for one in (_invented, _twice, _missing, _never_back, _deliveries):
        wrong += one(ops, handed, latches)
    for one in (_early, _deadlines, _generations, _repetitions, _refusals):
        wrong += one(ops)
    return wrong


def _invented(ops, handed, latches):
    """Every READY was accepted before it was handed over, or may have been."""
    del latches
    sent = {}
    for op in ops:
        if op.kind == "ready":
            for side in op.sides():
                sent.setdefault((op.names[0], side, op.req["data"]), op.call)
    return [f"READY invented: {one}" for one in handed
            if one.key not in sent or sent[one.key] > one.op.ret]


def _twice(ops, handed, latches):
    """None is used twice: it may come again only when its hand-off was not acknowledged."""
    acked = {(op.names[0], op.sides()[0], op.req["of"], op.req["delivery"])
             for op in ops if op.kind == "ack" and op.ans is not None}
    by_key = collections.defaultdict(list)
    for one in handed:
        if one.name not in latches:
            by_key[one.key].append(one)
    wrong = []
    for again in by_key.values():
        again.sort(key=lambda one: one.answer["delivery"])
        for first, second in zip(again, again[1:]):
            if not first.op.req.get("ack_timeout"):
                wrong.append(f"READY delivered twice: {first}; and {second}")
            elif (first.name, first.side, first.op.index, first.answer["delivery"]) in acked:
                wrong.append(f"READY acknowledged, and delivered again: {first}; and {second}")
            elif second.answer["attempt"] <= first.answer["attempt"]:
                wrong.append(f"an attempt that does not count on: {first}; and {second}")
            elif second.op.ret < first.op.call + first.op.req["ack_timeout"] - SLACK:
                wrong.append(f"taken back before its time: {first}; and {second}")
    return wrong


def _missing(ops, handed, latches):
    """What woke or was remembered was handed over, once every name has been drained."""
    if not any(op.kind == "quiesce" for op in ops):
        return []
    made, may_be_gone, woke = collections.Counter(), collections.Counter(), {}
    for op in ops:
        keys = [(name, side) for name in op.names for side in op.sides()]
        if op.again is not None:
            continue
        if op.kind == "ready" and op.ans and op.ans["effect"] in ("WOKE", "REMEMBERED"):
            if len(keys) == 1:
                made[keys[0]] += 1
                if op.ans["effect"] == "WOKE":
                    woke[(*keys[0], op.req["data"])] = op
            else:
                may_be_gone.update(dict.fromkeys(keys, _MANY))  # what each side did is not told
        elif op.kind in ("wait", "poll") and (op.err == "STALE_DELIVERY" or not op.answered):
            for name in op.names:
                may_be_gone.update({(name, 0): 1, (name, 1): 1})
        elif op.kind == "close" or op.kind == "reset" and not (op.ans and not op.ans["forgot"]):
            may_be_gone.update({(op.names[0], 0): _MANY, (op.names[0], 1): _MANY})
        elif op.kind == "ready" and not op.ans and not op.err:
            may_be_gone.update(dict.fromkeys(keys, 1))
    got = collections.defaultdict(set)
    for one in handed:
        got[one.name, one.side].add(one.answer["data"])
    wrong = []
    for key, count in made.items():
        if key[0] not in latches and count > len(got[key]) + may_be_gone[key]:
            wrong.append(f"acknowledged READY missing: {key[0]} side {key[1]}: {count} accepted, "
                         f"{len(got[key])} handed over")
    for (name, side, data), op in woke.items():
        if (name not in latches and not may_be_gone[name, side] and data not in got[name, side]):
            wrong.append(f"acknowledged READY missing: it woke, and nobody has it: {op}")
    return wrong


def _never_back(ops, handed, latches):
    """A hand-off that was not acknowledged has come back, once every name has been drained."""
    quiesce = next((op for op in ops if op.kind == "quiesce"), None)
    if not quiesce:
        return []
    unsure = {name for op in ops for name in op.names if op.again is None and (
        op.kind in ("close", "reset") or op.err == "STALE_DELIVERY" or not op.answered)}
    unsure |= latches
    acked = {(op.names[0], op.req["of"]) for op in ops if op.kind == "ack" and op.ans is not None}
    last = {}
    for one in handed:
        former = last.setdefault(one.key, one)
        if one.answer["delivery"] > former.answer["delivery"]:
            last[one.key] = one
    return [f"a hand-off never came back: {one}" for one in last.values()
            if one.op.req.get("ack_timeout") and one.name not in unsure
            and (one.name, one.op.index) not in acked
            and one.op.ret + one.op.req["ack_timeout"] + GRACE < quiesce.call]


def _deliveries(ops, handed, latches):
    """Delivery numbers grow strictly, and each is given to one hand-over only."""
    del ops
    wrong, by_side = [], collections.defaultdict(list)
    for one in handed:
        if one.name not in latches:
            by_side[one.name, one.side, one.answer["gen"]].append(one)
    for several in by_side.values():
        seen = {}
        for one in several:
            other = seen.setdefault(one.answer["delivery"], one)
            if other is not one:
                wrong.append(f"delivery number given twice: {other}; and {one}")
        several.sort(key=lambda one: one.op.call)
        ended = sorted(several, key=lambda one: one.op.ret)
        at, highest = 0, None
        for one in several:
            while ended[at].op.ret < one.op.call:
                if highest is None or ended[at].answer["delivery"] > highest.answer["delivery"]:
                    highest = ended[at]
                at += 1
            if highest and highest.answer["delivery"] > one.answer["delivery"]:
                wrong.append(f"delivery numbers do not grow: {highest}; then {one}")
    return wrong


def _early(ops):
    """No wait is over before its limit, and READY does not come long after it."""
    wrong = []
    for op in ops:
        if op.kind not in ("wait", "poll") or not op.ans or op.again is not None:
            continue
        timeout = op.req.get("timeout")
        if op.ans["outcome"] == "TIMED_OUT" and op.ans["cause"] == "WAIT":
            if timeout is None or op.ret < op.call + timeout:
                wrong.append(f"timed out early: {op}")
        elif op.ans["outcome"] == "TIMED_OUT" and op.ans.get("late", 0) < 0:
            wrong.append(f"decided before its instant: {op}")
        elif (op.ans["outcome"] == "READY" and timeout is not None and len(op.attempts) < 2
              and op.ans.get("parked", 0) > max(timeout, 0) + LIMIT_SLACK):
            wrong.append(f"its limit was passed by: {op}")
    return wrong


def _deadlines(ops):
    """A deadline lies where it was asked for, and every later look at it finds one that was set."""
    wrong, known, unsure = [], collections.defaultdict(list), set()
    for op in ops:
        if op.kind != "deadline" or op.again is not None:
            continue
        timeout = op.req.get("timeout")
        if not op.answered:
            unsure.update((op.names[0], side) for side in op.sides())
        for side in op.sides() if op.ans else ():
            at = op.ans["at"][side]
            if op.ans["effects"][side] in ("ARMED", "EXTENDED", "SHORTENED"):
                known[op.names[0], side].append(at)
                if not op.call + timeout - SLACK <= at <= op.ret + timeout + SLACK:
                    wrong.append(f"not the deadline that was asked for: {op}")
    for op in ops:
        told = op.ans["sides"] if op.kind == "get" and op.ans else ()
        for side, each in enumerate(told):
            key = (op.names[0], side)
            if each["at"] is None or each["expired"] or key in unsure:
                continue
            if not any(abs(each["at"] - at) <= SLACK for at in known[key]):
                wrong.append(f"a deadline moved: {op}")
    return wrong


def _generations(ops):
    """A generation is of one life of one name, and never comes again. Of one name they grow."""
    wrong, owner, closed, created = [], {}, {}, {}
    told = []
    for op in ops:
        if op.again is not None or not op.ans:
            continue
        if op.ans.get("gen"):
            told.append((op, op.names[0], op.ans["gen"]))
        for target, answer in op.ans.get("results") or ():
            if answer.get("gen"):
                told.append((op, op.names[target], answer["gen"]))
    for op, name, generation in told:
        if owner.setdefault(generation, name) != name:
            wrong.append(f"generation {generation} is of {owner[generation]} too: {op}")
        if op.kind == "open" and op.ans["created"]:
            if generation in created:
                wrong.append(f"generation created twice: {created[generation]}; and {op}")
            created[generation] = op
        if op.kind == "wait" and op.ans["outcome"] == "CLOSED":
            closed[generation] = min(op.ret, closed.get(generation, op.ret))
    for op, _, generation in told:
        if generation in closed and op.call > closed[generation]:
            wrong.append(f"generation came again: {op}")
    by_name = collections.defaultdict(list)
    for op, name, generation in told:
        by_name[name].append((op, generation))
    for several in by_name.values():
        ended, at, latest = sorted(several, key=lambda one: one[0].ret), 0, 0
        for op, generation in sorted(several, key=lambda one: one[0].call):
            while ended[at][0].ret < op.call:
                latest = max(latest, ended[at][1])
                at += 1
            if generation < latest:
                wrong.append(f"generations do not grow: {latest}; then {op}")
    return wrong


def _repetitions(ops):
    """A call that is repeated after its answer gets the same."""
    wrong = []
    for op in ops:
        if op.again is None or not op.answered:
            continue
        first = ops[op.again]
        if (first.ans, first.err) == (op.ans, op.err):
            continue
        # A refusal is not remembered: the same call again is another try.
        if first.err or op.err == "STALE_DELIVERY" and op.req.get("ack_timeout"):
            continue
        wrong.append(f"repeated, and answered otherwise: {first}; then {op}")
    return wrong


def _refusals(ops):
    """A durable store knows every id for its retention, which no run outlives."""
    return [f"an id was forgotten: {op}" for op in ops
            if op.err == "OUTCOME_UNKNOWN" and op.kind != "ack"]
