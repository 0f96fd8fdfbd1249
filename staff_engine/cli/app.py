"""Open the app: what `staff-studio` does without a command."""

from __future__ import annotations

from staff_engine.program import SCRIPT, app_folder


def open_app(*, port: int | None = None, browser: bool = True) -> None:
    """Serve the app from this process until it is stopped.

    Streamlit reads the settings in `.streamlit/config.toml` next to the app. Its own environment
    variables, such as `STREAMLIT_SERVER_ADDRESS`, override them.

    Parameters
    ----------
    port
        The port to listen on; Streamlit chooses one if None.
    browser
        Whether the app is opened in a browser, if this machine can show one.

    Raises
    ------
    SystemExit
        If the app cannot be served, for example because the port is taken.
    """
    from streamlit.web.cli import main

    words = ["run", str(app_folder() / "app.py")]
    if port is not None:
        words.append(f"--server.port={port}")
    if not browser:
        words.append("--server.headless=true")
    main(words, prog_name=SCRIPT, standalone_mode=False)
