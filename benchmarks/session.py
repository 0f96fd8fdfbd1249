"""A session of the app without a browser: what a browser sends over the websocket, and its answers."""

from __future__ import annotations

import time
from typing import Self

from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from websockets.asyncio.client import connect

LARGEST = 2**26
PATIENCE = 120.0


class Session:
    """One person's session. `errors` counts the exceptions that pages have shown."""

    def __init__(self, address: str) -> None:
        self._address = address.replace("http", "ws", 1) + "/_stcore/stream"
        self._sliders: dict[str, tuple[str, str]] = {}
        self._values: dict[str, float] = {}
        self.page = ""
        self.errors = 0

    async def __aenter__(self) -> Self:
        self._socket = await connect(
            self._address,
            subprotocols=["streamlit"],
            max_size=LARGEST,
            open_timeout=PATIENCE,
            ping_timeout=None,
        )
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._socket.close()

    async def open(self, page: str, query: str) -> float:
        """Go to a page of the app by a link; returns the seconds until it is complete."""
        message = BackMsg()
        message.rerun_script.query_string = query
        message.rerun_script.page_name = page
        self.page = page
        self._values = {}
        return await self._ask(message)

    async def move(self, name: str, value: float) -> float:
        """Move a slider of the page; returns the seconds until all that depends on it is complete."""
        slider, fragment = self._sliders[name]
        self._values[slider] = value
        message = BackMsg()
        message.rerun_script.page_name = self.page
        message.rerun_script.fragment_id = fragment
        for each, chosen in self._values.items():
            state = message.rerun_script.widget_states.widgets.add(id=each)
            state.double_array_value.data.append(chosen)
        return await self._ask(message)

    async def _ask(self, message: BackMsg) -> float:
        began = time.monotonic()
        await self._socket.send(message.SerializeToString())
        while True:
            answer = ForwardMsg.FromString(await self._socket.recv())
            kind = answer.WhichOneof("type")
            if kind == "script_finished":
                return time.monotonic() - began
            if kind == "delta":
                self._note(answer.delta)

    def _note(self, delta) -> None:
        element = delta.new_element
        match element.WhichOneof("type"):
            case "slider":
                self._sliders[element.slider.label] = (element.slider.id, delta.fragment_id)
            case "exception":
                self.errors += 1
