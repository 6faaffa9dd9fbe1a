"""Whether some order of the operations explains every answer.

The search of Wing and Gong with the memory of Lowe: an operation may be the next one if it was
called before any other that is left had to be over; a place that was reached before, the same
operations done and the same state, is not gone through again. Names that a poll has brought
together are one object, and every other name is one of its own. A search that runs out of its bound
has failed.

Beside the operations there are steps that nobody calls: a wait's own limit, a side's deadline, a
READY that is taken back. Each may be taken when its instant may have come.
"""

import bisect
import random

import global_checks
from spec import EXPIRED, LATEST, SLACK, UNACKED, Item, Mismatch, Step
from history import MS

# A message's instant is read when it arrives; how long it may take until it is carried out.
PARKED_SLACK = 50 * MS
STEPS_PER_OP = 200
STEPS_MIN = 20_000


def check(history, steps_per_op=STEPS_PER_OP):
    """What is wrong with a history: a list of texts, empty if nothing is."""
    ops = history.ops
    wrong = global_checks.check(ops)
    for names, of_names in objects(ops):
        search = Search(names, of_names, steps_per_op)
        why = search.run()
        if why:
            wrong.append(f"{', '.join(names)}: {why}")
    return wrong


def objects(ops):
    """The names that belong together, with their operations and the crashes, in order of call."""
    leader = {}

    def find(name):
        while leader.setdefault(name, name) != name:
            name = leader[name]
        return name
    for op in ops:
        for name in op.names:
            leader[find(name)] = find(op.names[0])
    groups, everywhere = {}, []
    for op in ops:
        if op.again is not None:
            continue  # the first one stands for it
        if op.names:
            names, of_names = groups.setdefault(find(op.names[0]), (set(), []))
            names.update(op.names)
            of_names.append(op)
        else:
            everywhere.append(op)
    for names, of_names in groups.values():
        yield sorted(names), sorted(of_names + everywhere, key=lambda op: op.call)


class Search:
    """The search over one object."""

    def __init__(self, names, ops, steps_per_op):
        numbers = {name: number for number, name in enumerate(names)}
        self.items = [Item(index, op, numbers) for index, op in enumerate(ops)]
        by_op = {item.op.index: item for item in self.items}
        for item in self.items:
            if item.kind == "ack":
                self._connect(item, by_op.get(item.op.req.get("of")))
        self.first = (None,) * len(names)
        count = len(self.items)
        self.bound = max(STEPS_MIN, steps_per_op * count)
        self.steps = 0
        # A list of those that are left, by call; the last place is its head.
        self.next = [*range(1, count + 1), 0]
        self.before = [count, *range(count)]
        randomness = random.Random(1)
        self.marks = [randomness.getrandbits(128) for _ in range(count)]
        self.parked_by = [self._begin_by(item) for item in self.items]
        self.hints = [self._begin_by(item, 0) for item in self.items]
        self.handed = {}
        self._look_ahead()
        self.left = {item.index for item in self.items if not item.lost and not item.hung}
        # The crash that ended each of those whose answer never came: after it they are over.
        self.over_with = {}
        crashes = [item for item in self.items if item.kind == "crash"]
        for item in self.items:
            failed = item.attempts[-1][1]
            if item.lost and failed is not None:
                crash = next((one for one in reversed(crashes) if one.op.call <= failed), None)
                if crash and item.op.call <= crash.op.ret:
                    self.over_with.setdefault(crash.index, []).append(item.index)
        self.best, self.best_stack = -1, None

    @staticmethod
    def _connect(ack, wait):
        if wait is None:
            return
        ack.wait = wait.index
        target = (ack.names[0], ack.op.sides()[0])
        wait.acks[target] = wait.acks.get(target, 0) + 1

    @staticmethod
    def _begin_by(item, slack=PARKED_SLACK):
        """When it must have begun at the latest."""
        if item.op.ret is None:
            return LATEST
        if item.waits and item.op.ans and item.op.ans.get("parked"):
            return max(item.op.call, item.op.ret - item.op.ans["parked"] + slack)
        return item.op.ret

    def _look_ahead(self):
        """What the answers tell of the order: delivery numbers, and when a READY was accepted. The
        numbers must grow, so that one which comes too soon need not be tried; the rest are hints
        for what to try first."""
        seen = {}
        for item in self.items:
            answers = item.op.ans and (
                [(0, item.op.ans)] if item.kind == "wait" else
                item.op.ans["results"] if item.kind == "poll" else [])
            for number, answer in answers or ():
                if answer["outcome"] != "READY":
                    continue
                target = item.targets[number]
                self.handed.setdefault(target, []).append(
                    (answer["gen"], answer["delivery"], answer["data"], answer["coalesced"], item))
                seen[target, answer["data"]] = answer
                if item.op.ans["parked"] and answer.get("accepted"):
                    self.hints[item.index] = max(
                        item.op.call, min(self.hints[item.index],
                                          answer["accepted"] - item.op.ans["parked"]))
        for target, several in self.handed.items():
            several.sort(key=lambda each: each[:2])
            for former, later in zip(several, several[1:]):
                if former[0] == later[0] and former[1] < later[1]:
                    later[4].after[target] = former[1], former[4].index
        for item in self.items:
            for side in item.op.sides() if item.kind == "ready" else ():
                answer = seen.get(((item.names[0], side), item.op.req["data"]))
                if answer:
                    item.data[side], item.replaced[side] = answer["data"], answer["coalesced"]
                    self.hints[item.index] = min(self.hints[item.index],
                                                 answer.get("accepted") or LATEST)

    def _handed_next(self, target, state):
        """What a side hands out next, as far as answers tell: (..., data, coalesced, who)."""
        several, desc = self.handed.get(target), state[target[0]]
        if not several or not desc:
            return None
        at = bisect.bisect_right(several, (desc[0] or 0, desc[2 + target[1]][6], chr(0x10ffff)))
        return several[at] if at < len(several) and several[at][0] == desc[0] else None

    def _unlikely(self, move, state):
        """Whether a move does not lead to what is handed out next."""
        if move[1] == "take back":
            following = self._handed_next(move[2], state)
            side = state[move[2][0]][2 + move[2][1]]
            back = side[4][move[3]]
            first = min(side[3][:1] + (back[:2],))
            return bool(following) and following[2] != first[1]
        item = self.items[move[2]] if move[1] == "op" else None
        if item is None or item.kind != "ready":
            return False
        target = (item.names[0], item.op.sides()[0])
        following = self._handed_next(target, state)
        if not following:
            return False
        side = state[target[0]][2 + target[1]]
        count = side[1] + 1 if side[0] is not None else 0
        _, _, data, coalesced, _ = following
        return (item.op.req["data"] == data) != (count == coalesced) or count > coalesced

    def run(self):
        """None, or why no order explains the answers."""
        self._crash_at = []
        mark, state = 0, self.first
        seen = set()
        stack = [[mark, state, self._candidates(state), 0, None, (), None]]
        while True:
            frame = stack[-1]
            if not self.left:
                return None
            self.steps += 1
            if self.steps > self.bound:
                return self._report(f"out of its bound of {self.bound} steps: failed")
            if len(self.items) - len(self.left) > self.best:
                self.best = len(self.items) - len(self.left)
                self.best_stack = [each[6] for each in stack[1:]], frame[1]
            candidates, at = frame[2], frame[3]
            if at == len(candidates):
                if len(stack) == 1:
                    return self._report("no order explains the answers")
                self._undo(frame)
                stack.pop()
                continue
            frame[3] += 1
            move = candidates[at][1:]
            try:
                after, ended = self._move(frame[1], move)
            except Mismatch:
                continue
            after_mark = frame[0]
            gone = list(ended)
            if move[0] == "op" and self.items[move[1]].kind == "crash":
                gone += [one for one in self.over_with.get(move[1], ()) if self._is_left(one)]
                self._crash_at.append(self.items[move[1]])
            for one in gone:
                after_mark ^= self.marks[one]
            key = (after_mark, after)
            if key in seen or after is frame[1] and not gone:
                if move[0] == "op" and self.items[move[1]].kind == "crash":
                    self._crash_at.pop()
                continue
            seen.add(key)
            for one in gone:
                self._remove(one)
            stack.append([after_mark, after, self._candidates(after), 0, None, gone, move])

    def _move(self, state, move):
        step = Step(self.items, state)
        what, which = move[0], move[1]
        if what == "op":
            step.run(self.items[which])
        elif what == "limit":
            step.time_out(self.items[which])
        elif what == "expire":
            step.expire(which)
        else:
            step.take_back(which, move[2], move[3])
        return step.freeze(), step.ended

    # The list

    def _is_left(self, index):
        return self.next[self.before[index]] == index

    def _remove(self, index):
        before, after = self.before[index], self.next[index]
        self.next[before], self.before[after] = after, before
        self.left.discard(index)

    def _undo(self, frame):
        for index in reversed(frame[5]):
            self.next[self.before[index]] = self.before[self.next[index]] = index
            if not self.items[index].lost and not self.items[index].hung:
                self.left.add(index)
        move = frame[6]
        if move and move[0] == "op" and self.items[move[1]].kind == "crash":
            self._crash_at.pop()

    # What may come next

    def _candidates(self, state):
        """Moves that may be the next one, the most pressing first: (until when, move...)."""
        parked = set()
        for desc in state:
            if desc:
                parked.update(desc[2][7])
                parked.update(desc[3][7])
        head = len(self.items)
        horizon, found = LATEST, []
        index = self.next[head]
        while index != head:
            item = self.items[index]
            if item.op.call > horizon:
                break
            if index in parked:
                if item.op.ret is not None:
                    horizon = min(horizon, item.op.ret)
                if item.ends_by_itself():
                    found.append((item.until, "limit", index))
            elif item.lost:
                found.append((LATEST, "op", index))
            else:
                horizon = min(horizon, self.parked_by[index])
                found.append((self.hints[index], "op", index))
            index = self.next[index]
        moves = [move for move in found
                 if (move[0] <= horizon + SLACK if move[1] == "limit"
                     else self._may_begin(self.items[move[2]], horizon))]
        self._add_due(state, horizon, moves)
        if len(moves) > 1:
            moves.sort(key=lambda move: (self._unlikely(move, state), move[0]))
        return moves

    def _may_begin(self, item, horizon):
        """Whether an attempt of it is under way. After a crash only those are that it outlived."""
        if item.op.call > horizon:
            return False
        if not item.waits or not self._crash_at:
            return True
        up = self._crash_at[-1].op.ret
        return any(call <= horizon and (failed is None or failed > up)
                   for call, failed in item.attempts)

    @staticmethod
    def _add_due(state, horizon, moves):
        """The steps that nobody calls, if their instants may have come."""
        for name, desc in enumerate(state):
            for number in (0, 1) if desc else ():
                side = desc[2 + number]
                deadline = side[5]
                if deadline is not None and deadline != EXPIRED and deadline[0] <= horizon + SLACK:
                    moves.append((deadline[1], "expire", (name, number)))
                for which, hand_off in enumerate(side[4]):
                    if hand_off[7] in UNACKED and hand_off[5] <= horizon + SLACK:
                        moves.append((hand_off[6], "take back", (name, number), which,
                                      hand_off[5]))

    def _report(self, why):
        """How far the best try came, and why it could not go on."""
        moves, _ = self.best_stack
        text = [f"{why} ({self.steps} steps, {self.best} of {len(self.items)} explained)",
                "  in the order that explains most, the last steps:"]
        text += [f"    {self._name(move)}" for move in moves[-12:]]
        state, rest = self.first, set(range(len(self.items)))
        for move in moves:
            state, ended = self._move(state, move)
            rest -= set(ended)
        text.append(f"  leads to {state}")
        text.append("  after which none of these can follow:")
        for index in sorted(rest)[:10]:
            try:
                self._move(state, ("op", index))
                said = "would, but it is not its time or others cannot follow it"
            except Mismatch as mismatch:
                said = str(mismatch)
            text.append(f"    {self.items[index].op}: {said}")
        return "\n".join(text)

    def _name(self, move):
        if move[0] in ("op", "limit"):
            return f"{'' if move[0] == 'op' else 'its limit ends '}{self.items[move[1]].op}"
        return f"{move[0]} {move[1:]}"
