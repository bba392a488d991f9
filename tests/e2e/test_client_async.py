"""The asyncio client over real sockets: the same goals as the sync one, many streams at once, cancellation anywhere."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable, Coroutine
from typing import Any

import numpy as np
import pytest
from scripted import NoiseGenerator, ScriptedCritic, ScriptedPlanner, gradient_image, plan_of

from itk_embodied.bridges import AsyncSubgoalClient
from itk_embodied.errors import ConfigError, InputError, TransportError
from itk_embodied.pipeline import PipelineConfig, VisualSubgoalPipeline
from itk_embodied.service import ServiceConfig, SubgoalService
from itk_embodied.types import Frame, SequenceStatus

FRAME = Frame(gradient_image(), stamp_s=1_700_000_000.5, frame_id="wrist")
Body = Callable[[SubgoalService, AsyncSubgoalClient], Coroutine[Any, Any, None]]


def with_service(body: Body, *, steps: int = 3, paint_s: float = 0.02, **options: Any) -> None:
    plan = plan_of(*(f"put cube {n + 1} in the bowl" for n in range(steps)))
    pipeline = VisualSubgoalPipeline(
        ScriptedPlanner(plan), NoiseGenerator(paint_s), ScriptedCritic(True), PipelineConfig()
    )
    config = ServiceConfig(stream="tcp://127.0.0.1:0", requests="tcp://127.0.0.1:0", heartbeat_s=0.1)

    async def main(service: SubgoalService) -> None:
        async with AsyncSubgoalClient(service.stream_address, service.requests_address, **options) as client:
            await asyncio.wait_for(client.wait_ready(5), 10)
            await asyncio.wait_for(body(service, client), 30)

    with SubgoalService(pipeline, config) as service:
        asyncio.run(main(service))


def test_the_same_goals_as_the_sync_client() -> None:
    async def body(service: SubgoalService, client: AsyncSubgoalClient) -> None:
        task_id = await client.submit(FRAME, "go", seed=4)
        stream = client.subgoals(task_id, deadline_s=10)
        goals = [goal async for goal in stream]
        assert [goal.step for goal in goals] == [1, 2, 3] and stream.status is SequenceStatus.VERIFIED
        again = [goal async for goal in client.subgoals(task_id, deadline_s=10)]
        for one, two in zip(goals, again, strict=True):
            assert one.image is not None and two.image is not None
            np.testing.assert_array_equal(one.image, two.image)
        assert stream.plan is not None and stream.link == "live"
        assert await client.cancel(task_id) == ()

    with_service(body)


def test_many_coroutines_share_one_client() -> None:
    async def body(service: SubgoalService, client: AsyncSubgoalClient) -> None:
        watcher = asyncio.ensure_future(client.wait_for_task(10))
        await asyncio.sleep(0.05)
        task_id = await client.submit(FRAME, "go")
        assert await watcher == task_id

        async def follow(slow_s: float) -> list[int]:
            steps = []
            async for goal in client.subgoals(task_id, deadline_s=20):
                steps.append(goal.step)
                await asyncio.sleep(slow_s)
            return steps

        results = await asyncio.gather(*(follow(0.02 * n) for n in range(8)), client.ping())
        assert results[:8] == [[1, 2, 3, 4]] * 8

    with_service(body, steps=4)


def test_a_cancelled_wait_loses_no_goal() -> None:
    async def body(service: SubgoalService, client: AsyncSubgoalClient) -> None:
        stream = client.subgoals(await client.submit(FRAME, "go"), deadline_s=20)
        steps: list[int] = []
        waited = 0
        while True:
            try:
                steps.append((await asyncio.wait_for(anext(stream), 0.003)).step)
            except TimeoutError:
                waited += 1
            except StopAsyncIteration:
                break
        assert steps == [1, 2, 3] and waited > 3

    with_service(body)


def test_a_cancelled_request_leaves_nothing_behind() -> None:
    async def body(service: SubgoalService, client: AsyncSubgoalClient) -> None:
        for delay_s in (0.0, 0.0005, 0.002, 0.01):
            call = asyncio.ensure_future(client.ping())
            await asyncio.sleep(delay_s)
            call.cancel()
            await asyncio.gather(call, return_exceptions=True)
        assert (await client.ping()).state == "ready"
        assert len(client._idle) <= 2, "sockets of requests that were cut off are closed"

    with_service(body)


def test_a_dead_service_is_noticed_by_every_coroutine() -> None:
    async def body(service: SubgoalService, client: AsyncSubgoalClient) -> None:
        states: list[str] = []
        task_id = await client.submit(FRAME, "go")
        streams = [
            client.subgoals(task_id, deadline_s=20, on_link=lambda state, why: states.append(state)) for _ in range(2)
        ]
        service._loop._stop.set()
        service._loop._thread.join(5)

        async def drain(stream: Any) -> None:
            async for _ in stream:
                pass

        results = await asyncio.gather(*map(drain, streams), return_exceptions=True)
        assert all(result is None or isinstance(result, TransportError) for result in results)
        with pytest.raises(TransportError, match=r"no answer to 'ping' .* within 0.4 s"):
            await client.ping()
        with pytest.raises(TransportError):
            await client.wait_for_task(0.3)

    with_service(body, paint_s=60.0, timeout_s=0.4, dead_after_s=0.5, patience_s=1.0)


def test_streams_that_nobody_holds_are_forgotten() -> None:
    async def body(service: SubgoalService, client: AsyncSubgoalClient) -> None:
        task_id = await client.submit(FRAME, "go")
        for _ in range(5):
            stream = client.subgoals(task_id, deadline_s=20)
            await anext(stream)
            del stream
        gc.collect()
        await asyncio.sleep(0.15)
        gc.collect()
        assert len(client._inboxes) == 0

    with_service(body)


def test_wrong_arguments() -> None:
    async def body(service: SubgoalService, client: AsyncSubgoalClient) -> None:
        with pytest.raises(InputError, match="the task is empty"):
            await client.submit(FRAME, " ")
        with pytest.raises(InputError, match="frame is not here"):
            client.subgoals("abcdefgh", deadline_s=1, resubmit=True)
        with pytest.raises(TransportError, match="does not know task"):
            await anext(client.subgoals("abcdefgh", deadline_s=5))
        with pytest.raises(ConfigError):
            AsyncSubgoalClient("nonsense")
        client.close()
        client.close()

    with_service(body)
