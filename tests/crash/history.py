"""What was asked and answered: calls with the instants between which each must have taken effect.

Instants are nanoseconds of CLOCK_MONOTONIC, which every process of a machine shares. An operation
is a *logical* call: attempts with the same id are one, from the first call to the answer that came
in the end. A history is written as one JSON object a line, the first of which tells of the run.

An operation's answer is a dictionary, below `ans`, of the fields that the checker looks at:

    open      gen, kind, created
    close     woken
    reset     reset, forgot
    wait      outcome, cause, data, gen, delivery, attempt, coalesced, parked, late, and accepted:
              the instant at which the server says to have accepted the READY, for a hint
    ready     effect, woken, gen, expired
    deadline  applied, effects [read, write], at [read, write], expired [read, write], woken, gen
    poll      outcome, cause, results [[target, answer of a wait], ...], parked
    ack       nothing
    get       gen, kind, sides [{state, unacked, returned, at, expired}, ...]; `at` is monotonic

A refusal is the ErrorInfo reason below `err`. Neither of them: the answer never came.
"""

import dataclasses
import json
import threading
import time

READ, WRITE, READ_WRITE = 1, 2, 3
EXCLUSIVE, FIFO, LATCH = "EXCLUSIVE", "FIFO", "LATCH"
MS = 1_000_000
S = 1_000_000_000


@dataclasses.dataclass
class Op:
    """One logical call, a crash of the server, or the quiesce at the end."""

    kind: str
    names: list
    call: int
    ret: int = None  # None: it never returned
    mode: int = READ
    req: dict = dataclasses.field(default_factory=dict)
    ans: dict = None
    err: str = None
    # Of each attempt [call, when it was known to have failed]; the last one has the answer.
    attempts: list = dataclasses.field(default_factory=list)
    # The index of an operation that had its answer already, and of which this is a repetition.
    again: int = None
    hung: bool = False  # of a wait: its call was still under way at the quiesce
    index: int = -1

    @property
    def answered(self):
        return self.ans is not None or self.err is not None

    def sides(self):
        return [side for side in (0, 1) if self.mode & (1 << side)]

    def to_json(self):
        return {field.name: value for field in dataclasses.fields(self)
                if (value := getattr(self, field.name)) != field.default
                and not (value in ([], {}) and field.name in ("req", "attempts"))}

    def __str__(self):
        said = self.err or self.ans
        ids = {key: value for key, value in self.req.items() if value is not None}
        return (f"#{self.index} {self.kind} {','.join(self.names)} mode={self.mode} {ids} "
                f"[{self.call / MS:.3f}, {'...' if self.ret is None else f'{self.ret / MS:.3f}'}] "
                f"-> {'unknown' if said is None else said}")


class History:
    """Operations as they come, from any thread."""

    def __init__(self, **about):
        self.about, self.ops = about, []
        self._lock = threading.Lock()

    def add(self, op):
        with self._lock:
            op.index = len(self.ops)
            self.ops.append(op)
        return op

    def begin(self, what, names, mode=READ, again=None, **req):
        """A logical call that is about to be sent for the first time."""
        return self.add(Op(kind=what, names=list(names), call=time.monotonic_ns(), mode=mode,
                           req=req, again=again))

    @staticmethod
    def end(op, ans=None, err=None):
        """Its answer has come."""
        op.ret, op.ans, op.err = time.monotonic_ns(), ans, err

    def save(self, path):
        with open(path, "w", encoding="utf-8") as file:
            file.write(json.dumps(self.about) + "\n")
            for op in self.ops:
                file.write(json.dumps(op.to_json()) + "\n")

    @classmethod
    def load(cls, path):
        with open(path, encoding="utf-8") as file:
            self = cls(**json.loads(next(file)))
            for line in file:
                self.add(Op(**json.loads(line)))
        return self
