"""The faults that a sweep may meet: what each is called here, what is promised, and why some have no test of their own."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Fault:
    """A fault; `absent` says what no test brings about, and why."""

    name: str
    promised: str
    absent: str = ""


FAULTS = {
    "F1": Fault("a worker is killed in a step", "tried again from its last complete checkpoint, at most `--max-failures` times"),
    "F2": Fault("a worker is killed between predictions and scores", "the next attempt answers again and writes both; one result"),
    "F3": Fault("a worker is killed after its scores, before anybody hears of it", "the next attempt finds the scores and trains nothing"),
    "F4": Fault("a worker is killed while it writes a checkpoint", "the half one is ignored, an older one is used"),
    "F5": Fault("a trial fails in every attempt", "listed as failed with its traceback; the others finish; exit 5; the next run tries it"),
    "F6": Fault("a node is lost", "its trials run again elsewhere"),
    "F7": Fault("all workers are lost, the head lives", "the run waits, goes on when a node comes"),
    "F8": Fault("the command is killed", "the same command goes on; no committed trial is trained again; no process is left"),
    "F9": Fault(
        "Ctrl-C, once and twice", "once: running trials save themselves within 30 s, exit 130, the command to go on with; twice: at once"
    ),
    "F10": Fault(
        "SIGTERM to a worker or the command", "a checkpoint at the next step; at most that step is lost; no failure; the command exits 143"
    ),
    "F11": Fault("kills at random moments, again and again", "running again converges to the undisturbed result"),
    "F12": Fault("the head's control store is lost", "exit 4 with how to go on; running again completes"),
    "F13": Fault("two commands run one sweep", "both may; one result each"),
    "F14": Fault("a trial runs twice with equal scores", "the second is dropped silently"),
    "F15": Fault("a trial runs twice with other scores", "the first stays; the second is recorded, said, and shown by `status`"),
    "F16": Fault("the disk is full at a result", "exit 6 with the path and the bytes; nothing partial; more space completes it"),
    "F17": Fault("the disk is full at a checkpoint", "exit 6; the last complete checkpoint stays and is gone on from"),
    "F18": Fault("the results cannot be written", "refused before anything is trained"),
    "F19": Fault(
        "a result file is torn, or valid and short", "named by `check`, never counted in a table, run again after `check --repair`"
    ),
    "F20": Fault("one bit of a result file flips", "as for a torn one"),
    "F22": Fault("strange files lie among the results", "ignored and left alone; `check` names them"),
    "F23": Fault("a checkpoint is damaged", "said in the trial's log; an older one or none is gone on from, never the wrong weights"),
    "F24": Fault(
        "the hub is out of reach at the start", "what is in the cache serves; else exit 4 in less than 30 s, naming what is missing"
    ),
    "F25": Fault("the hub fails in the middle", "tried again with pauses, then the trial fails; half a file is never used"),
    "F26": Fault("the hub refuses the token", "exit 4; the token is printed nowhere"),
    "F27": Fault(
        "the GPU's memory does not suffice", "smaller micro-batches, the same batch and result; below one: failed, it needs more memory"
    ),
    "F28": Fault("a machine's memory does not suffice", "Ray kills the worker; tried again; the message speaks of memory"),
    "F29": Fault("the loss is not finite", "the trial fails at that step, commits nothing, and says what may help"),
    "F30": Fault("a trial hangs", "ended after `--stall-minutes` and tried again; the record says where it hung"),
    "F31": Fault("the network pauses", "the download goes on"),
    "F32": Fault("an object store is busy, or its answer is lost after a put", "tried again; one's own file is known for one's own"),
    "F33": Fault("an object store without create-if-absent", "refused before anything is trained, saying why"),
    "F34": Fault("a clock jumps, time zones differ", "no decision rests on it; durations are right; times are in UTC"),
    "F35": Fault(
        "a stale lock after a reboot",
        "nobody is locked out",
        absent="not applicable: there are no locks; two runs of one sweep end in one result (F13)",
    ),
    "F36": Fault(
        "a metric or a recipe changes between runs", "metric: `rescore`; recipe: new trials; old rows stay, out of the new tables"
    ),
    "F37": Fault("a node has other versions", "it refuses to work and names both"),
    "F38": Fault("a cluster of others asks for no token", "`doctor` fails, `run` and `submit` refuse, saying how to switch tokens on"),
    "F39": Fault("no terminal, 20 columns, ASCII only", "no crash"),
    "F40": Fault("tables are asked for while the sweep runs", "a table of what is committed; its holes are named"),
}
