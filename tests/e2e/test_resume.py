"""ed-qat killed (SIGKILL) at random moments and resumed: the model, the checkpoint and the log are those of the straight
run, and nothing is left behind. Checkpoints that are cut: refused by name, the one before is used. Run by ctest, or:
python test_resume.py TOOLS [--kills N] [--seed N] [--only VARIANT] [options of ed-qat, as --device cuda --deterministic]
"""
import argparse
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

MODEL, LOG, CHECKPOINT, PREVIOUS = "model.onnx", "run.csv", "run.h5", "run.h5.previous"
RATE = 8  # column of the log: images per second

# Which state goes through the checkpoint; where checkpoints fall between updates and epochs.
VARIANTS = {
    "each step": ["--checkpoint-every", "1", "--epochs", "20"],
    "ema": ["--checkpoint-every", "3", "--epochs", "40", "--scales", "ema", "--freeze-observers", "0.7",
            "--optimizer", "adamw", "--accumulate", "2"],
    "lsq": ["--checkpoint-every", "1", "--epochs", "20", "--scales", "lsq", "--weight-scales", "lsq",
            "--optimizer", "adamw", "--accumulate", "2", "--loss", "both", "--augment", "crop=1", "--clip", "1",
            "--lr", "0.01", "--val-every", "2"],
}


class Run:
    """A folder in which the demo is trained."""

    def __init__(self, tools, folder, options):
        self.folder = folder
        folder.mkdir()
        self.command = [str(tools / "ed-qat"), "-v", "-o", MODEL, "--log", LOG, *options]

    def start(self, errors, *options):
        return subprocess.Popen([*self.command, *options], cwd=self.folder, stdout=subprocess.DEVNULL, stderr=errors)

    def finish(self, *options):
        """Exit status, the sentences on standard error."""
        with tempfile.TemporaryFile("w+") as errors:
            status = self.start(errors, *options).wait()
            errors.seek(0)
            return status, errors.read()

    def finish_well(self, *options):
        status, said = self.finish(*options)
        assert status == 0, said
        return said

    def writes(self):
        return any(".tmp-" in name for name in os.listdir(self.folder))

    def killed(self, seconds, writing):
        """Resume, kill after so many seconds, or when it writes a file the next time. False: it came to its end."""
        with tempfile.TemporaryFile("w+") as errors:
            process = self.start(errors, "--resume", CHECKPOINT)
            time.sleep(seconds)
            while writing and not self.writes() and process.poll() is None:
                pass
            process.kill()
            status = process.wait()
            errors.seek(0)
            assert status in (0, -9), errors.read()
        return status != 0

    def bytes(self, name):
        return (self.folder / name).read_bytes()

    def log(self):
        """Its lines without the rate."""
        rows = [line.split(",") for line in (self.folder / LOG).read_text().splitlines()]
        return [row[:RATE] for row in rows]

    def files(self):
        return sorted(path.name for path in self.folder.iterdir())

    def check_checkpoints(self):
        """Damage to one file is not damage to both."""
        both = [self.folder / name for name in (CHECKPOINT, PREVIOUS)]
        assert not all(path.exists() for path in both) or not both[0].samefile(both[1])

    def clear(self):
        for path in self.folder.iterdir():
            path.unlink()


def steps_of(log):
    return [int(row[2]) for row in log if row[0] == "step"]


def compare(run, straight):
    assert run.bytes(MODEL) == straight.bytes(MODEL), "the model is not that of the straight run"
    assert run.bytes(CHECKPOINT) == straight.bytes(CHECKPOINT), "the checkpoint is not that of the straight run"
    log, wanted = run.log(), straight.log()
    assert steps_of(log) == list(range(1, len(steps_of(wanted)) + 1)), "a step is missing in the log, or there twice"
    assert log == wanted, [(a, b) for a, b in zip(log, wanted) if a != b][:3]
    assert run.files() == straight.files() == sorted([MODEL, LOG, CHECKPOINT, PREVIOUS]), run.files()


def test_kills(run, straight, seconds, kills, rng):
    """Moments are uniform over a stretch such that a run takes about all of the kills; every other one is while a file
    is written. A run that comes to its end before is compared, and the next begins anew."""
    at, writing, ends = [], 0, 0
    start = min(seconds["start"], seconds["all"] / 2)
    stretch = start + 1.5 * (seconds["all"] - start) / kills
    while len(at) < kills:
        if not run.killed(rng.uniform(0, stretch), len(at) % 2 == 1):
            compare(run, straight)
            run.clear()
            ends += 1
            continue
        at.append(max(steps_of(run.log()[1:]), default=0) if (run.folder / LOG).exists() else 0)
        writing += run.writes()
        run.check_checkpoints()
    run.finish_well("--resume", CHECKPOINT)
    compare(run, straight)
    assert writing or kills < 10, "no kill fell into the writing of a file"
    print(f"  {kills} kills, {writing} of them while a file was written, {ends} runs ended before; steps logged then: {at}")


def stop_halfway(run, straight):
    """A run that is killed when it has done half of its steps, with two checkpoints."""
    run.clear()
    half = len(steps_of(straight.log())) // 2
    with tempfile.TemporaryFile("w+") as errors:
        process = run.start(errors, "--resume", CHECKPOINT)
        log = run.folder / LOG
        while process.poll() is None and not (log.exists() and log.read_text().count("\nstep,") >= half):
            time.sleep(0.002)
        process.kill()
        process.wait()
    assert (run.folder / PREVIOUS).exists()


def cut(path, rng):
    whole = path.read_bytes()
    path.write_bytes(whole[:rng.randrange(len(whole))])


def test_cut(run, straight, rng):
    stop_halfway(run, straight)
    cut(run.folder / CHECKPOINT, rng)
    said = run.finish_well("--resume", CHECKPOINT)
    sentence = f"warning: {CHECKPOINT}: the checkpoint is damaged or cut short"
    assert sentence in said and f"{PREVIOUS} is used in its place" in said, said
    compare(run, straight)


def test_both_cut(run, straight, rng):
    """One sentence, nothing lost."""
    stop_halfway(run, straight)
    (run.folder / MODEL).write_bytes(b"of another day")
    for name in (CHECKPOINT, PREVIOUS):
        cut(run.folder / name, rng)
    before = {name: run.bytes(name) for name in run.files()}
    status, said = run.finish("--resume", CHECKPOINT, "--quiet")
    assert status == 1 and said.count("\n") == 1, (status, said)
    assert said.startswith(f"ed-qat: {CHECKPOINT}: the checkpoint is damaged or cut short"), said
    assert {name: run.bytes(name) for name in run.files()} == before


def timed(straight):
    """The straight run; seconds of it, and of what comes before its first step (a run resumed at its end)."""
    begin = time.monotonic()
    straight.finish_well("--resume", CHECKPOINT)
    end = time.monotonic()
    straight.finish_well("--resume", CHECKPOINT)
    return {"all": end - begin, "start": time.monotonic() - end}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tools", type=Path)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=None, help="of the moments; printed (default: the time)")
    parser.add_argument("--only", choices=VARIANTS)
    args, more = parser.parse_known_args()
    seed = time.time_ns() if args.seed is None else args.seed
    print(f"seed {seed}, options {more}")
    rng = random.Random(seed)
    for name, options in VARIANTS.items():
        if args.only in (None, name):
            with tempfile.TemporaryDirectory() as folder:
                straight, run = (Run(args.tools.resolve(), Path(folder) / which, [*options, *more])
                                 for which in ("straight", "run"))
                seconds = timed(straight)
                print(f"{name}: {len(steps_of(straight.log()))} steps in {seconds['all']:.2f} s", flush=True)
                test_kills(run, straight, seconds, args.kills, rng)
                test_cut(run, straight, rng)
                test_both_cut(run, straight, rng)
    return 0


if __name__ == "__main__":
    sys.exit(main())
