"""Runs one gate from its first record to its closing one."""

import asyncio
import contextlib
import platform
import shutil
import traceback
from collections.abc import Awaitable, Iterator
from typing import Final

from chaos import bounds, regular
from chaos.clock import RunClock, boot_id
from chaos.engine.collect import collect
from chaos.engine.files import regular_files
from chaos.engine.plan import CONTROL, Plan, all_steps, last_step
from chaos.engine.scope import Alone, RunState, Scope, StopScenario, skip, walk_steps
from chaos.engine.stack import Stack
from chaos.engine.time_limit import TimeLimit
from chaos.engine.usage import Usage, usage
from chaos.errors import ChaosError, HarnessError, told
from chaos.evidence import schema
from chaos.evidence.recorder import Recorder, as_json
from chaos.faults.base import FaultStep
from chaos.guard import Guard
from chaos.spec.variables import Variables
from chaos.steps import KINDS

KEPT: Final = "state-directory.txt"
PIECE_BYTES: Final = 8_000_000
OVERLAP_BYTES: Final = 64_000
"""Longer than any secret, however it is spelt."""


class Worker:
    """Runs gates one after the other; keeps a shared stack between gates that only read."""

    def __init__(self, name: str = "main") -> None:
        self.name = name
        self.guard = Guard()
        self._shared: tuple[object, Stack] | None = None
        self._sharing: list[tuple[Recorder, RunClock]] = []

    async def run(self, plan: Plan, alone: Alone = contextlib.nullcontext) -> None:
        """Run one gate and leave its evidence in `plan.directory`; never raises but for cancellation.

        `alone` is what a step that is `exclusive` waits for.
        """
        clock = RunClock()
        recorder = Recorder(plan.directory, plan.run_id, plan.gate, plan.target.redact)
        end_state, detail = "completed", None
        before = self._usage()
        try:
            self._record_start(plan, recorder, clock)
            await self._carry_out(plan, recorder, clock, alone)
        except asyncio.CancelledError:
            end_state, detail = "interrupted", "the run was interrupted"
            raise
        except ChaosError as error:
            end_state, detail = "broken", str(error)
        except Exception:  # noqa: BLE001 - whatever broke, the evidence is closed and the verdict is UNKNOWN
            end_state, detail = "broken", traceback.format_exc(limit=4)
        finally:
            with contextlib.suppress(ChaosError, OSError):
                spent = self._usage().since(before)
                recorder.add(
                    schema.RunEnd,
                    end_state=end_state,
                    end_detail=detail,
                    finished_ms=clock.now_ms(),
                    clock_drift_ms=clock.drift_ms(),
                    harness_cpu_ms=spent.own_ms,
                    started_cpu_ms=spent.started_ms,
                )
                recorder.close()

    async def close(self) -> None:
        """Stop the shared stack and end whatever is left."""
        await self._drop_shared()
        self.guard.close()

    def _usage(self) -> Usage:
        lives = self._shared[1].lives.values() if self._shared is not None else ()
        return usage(life.process.pid for life in lives if life.alive)

    def _record_start(self, plan: Plan, recorder: Recorder, clock: RunClock) -> None:
        recorder.add(
            schema.RunRow,
            mode=plan.mode,
            defect=plan.defect,
            target=plan.target.target,
            seed=plan.seed,
            digests=as_json(plan.digests),
            versions=as_json(plan.versions),
            config=as_json(plan.config),
            planned=[step_id for step_id, _ in all_steps(plan)],
            epoch_ms=clock.epoch_ms,
            boot_id=boot_id(),
            host=platform.node(),
            worker=self.name,
            attempt=plan.attempt,
        )

    async def _carry_out(
        self, plan: Plan, recorder: Recorder, clock: RunClock, alone: Alone
    ) -> None:
        limit = TimeLimit(plan.bounds.gate.s)
        if plan.shared:
            stack = await self._shared_stack(plan, recorder, clock)
            self._sharing.append((recorder, clock))
            try:
                async with limit:
                    await _walk(plan, stack, recorder, clock, limit.left_out(alone))
            finally:
                stack.record_ended()
            return
        await self._drop_shared()
        stack = Stack(plan, self.guard, recorder, clock)
        try:
            async with limit:
                await stack.start(probing=plan.link_check or _has_faults(plan))
                await _walk(plan, stack, recorder, clock, limit.left_out(alone))
        finally:
            # Whatever goes wrong from here on must not hide what went wrong before.
            problem = await asyncio.shield(_tear_down(stack, plan, recorder))
        if problem is not None:
            raise problem

    async def _shared_stack(self, plan: Plan, recorder: Recorder, clock: RunClock) -> Stack:
        key = (plan.target.target, plan.needs, repr(plan.config), plan.source_root)
        if self._shared is not None:
            kept, stack = self._shared
            if kept == key and all(life.alive for life in stack.lives.values()):
                for secret, name in stack.recorder.secrets.items():
                    recorder.keep_secret(secret, name)
                stack.recorder, stack.clock = recorder, clock
                return stack
        await self._drop_shared()
        stack = Stack(plan, self.guard, recorder, clock)
        try:
            await stack.start(probing=False)
        except BaseException:
            await asyncio.shield(_tear_down(stack, plan, recorder))
            raise
        self._shared = (key, stack)
        return stack

    async def _drop_shared(self) -> None:
        if self._shared is None:
            return
        stack = self._shared[1]
        self._shared = None
        for life in stack.lives.values():
            life.forget()
        await stack.stop_processes()
        # Whose it is cannot be told among the gates that shared it, which are closed by now.
        sharing, self._sharing = self._sharing, []
        for recorder, clock in sharing:
            if rows := stack.left(clock):
                recorder.add_late("sockets", rows)
        await stack.stop()
        shutil.rmtree(stack.directory, ignore_errors=True)


async def _walk(
    plan: Plan, stack: Stack, recorder: Recorder, clock: RunClock, alone: Alone
) -> None:
    run = RunState(KINDS, stack, recorder, clock, plan.mode, plan.seed, alone, last_step(plan))
    data = {f"data.{name}": rows for name, rows in plan.data.items()}
    variables = Variables(stack.variables, data)
    stopped = False
    try:
        for prefix, steps in plan.steps():
            if stopped:
                skip(run, prefix, list(steps))
                continue
            try:
                await walk_steps(Scope(run, prefix, variables, {}, clock.now_ms()), list(steps))
            except StopScenario:
                stopped = True
            # A scenario on a target that is not as it should be shows nothing.
            stopped = stopped or (prefix == CONTROL and run.failures > 0)
    finally:
        await run.close_windows()
    stack.links.check()


async def _tear_down(stack: Stack, plan: Plan, recorder: Recorder) -> ChaosError | None:
    """Stop the processes, take what the target declares as evidence, stop the rest; returns the first problem."""
    problem: ChaosError | None = None
    for act in _endings(stack, plan, recorder):
        try:
            await act
        except ChaosError as error:
            problem = problem or error
        except Exception as error:  # noqa: BLE001 - one that fails must not keep the others from being done
            problem = problem or HarnessError(told(error))
    return problem


def _endings(stack: Stack, plan: Plan, recorder: Recorder) -> Iterator[Awaitable[None]]:
    """What is to be done at the end, in this order."""
    yield stack.stop_processes()
    yield _record_lives(stack)
    yield collect(stack, recorder)
    yield _record_disks(stack)
    yield _look_into_files(stack, recorder)
    # Counted first: what has been recorded is forgotten.
    if plan.link_check:
        yield stack.links.record_traffic(recorder)
    yield stack.links.record_connections(recorder, stack.clock)
    yield stack.stop()
    yield _keep_output(stack, plan, recorder)


async def _record_lives(stack: Stack) -> None:
    stack.record_lives()
    for row in stack.left(stack.clock):
        stack.recorder.add(schema.Socket, **row)


async def _record_disks(stack: Stack) -> None:
    stack.record_disks()


async def _look_into_files(stack: Stack, recorder: Recorder) -> None:
    for path in regular_files(stack.state):
        name = str(path.relative_to(stack.state))
        if path.stat().st_size > bounds.STATE_FILE_BYTES:
            raise HarnessError(f"{name} is too large to be looked through for secrets")
        for piece in regular.pieces(path, PIECE_BYTES, OVERLAP_BYTES):
            recorder.look_for_secrets(piece, "files", name)


async def _keep_output(stack: Stack, plan: Plan, recorder: Recorder) -> None:
    try:
        output = plan.directory / "output"
        output.mkdir(exist_ok=True)
        for log in stack.logs.iterdir():
            data, beyond_bytes = regular.beginning(log, plan.bounds.output.bytes)
            if beyond_bytes:
                data += f"\n[{beyond_bytes} bytes more]\n".encode()
            recorder.look_for_secrets(data, "output", log.name)
            (output / log.name).write_bytes(recorder.redact(data))
        if plan.keep:
            (output / KEPT).write_text(f"{stack.directory}\n")
    finally:
        if not plan.keep:
            shutil.rmtree(stack.directory, ignore_errors=True)


def _has_faults(plan: Plan) -> bool:
    return any(isinstance(step, FaultStep) for _, step in all_steps(plan))
